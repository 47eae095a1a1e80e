//! What the client needs to know of an event, without parsing it, and text as JSON.

use std::fmt::Write;

/// From the end of a key to the end of its text.
const FIELD_BYTES_MAX: usize = 300;

/// The event's name where the payload says it once, or always the same; else nothing.
pub(crate) fn name(payload: &[u8]) -> Option<&str> {
    field(payload, "\"hook_event_name\"")
}

/// The text of a key, which is given with its quotes, where the payload says it once, or always the same.
///
/// Inside a string of JSON the quotes of the key would be escaped, so that text which a user typed is no
/// match; an object deep inside may hold the key as well, and then must not decide. In a payload that is no text
/// nothing is believed. The Python hook has the same rule.
pub(crate) fn field<'a>(payload: &'a [u8], key: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut found = None;
    let mut rest = text;
    while let Some(at) = rest.find(key) {
        rest = &rest[at + key.len()..];
        let value = string_after_colon(rest.as_bytes())?;
        if found.is_some_and(|other| other != value) {
            return None;
        }
        found = Some(value);
    }
    found
}

fn string_after_colon(text: &[u8]) -> Option<&str> {
    let near = &text[..text.len().min(FIELD_BYTES_MAX)];
    let value = after_blanks(near).strip_prefix(b":")?;
    let value = after_blanks(value).strip_prefix(b"\"")?;
    let end = value.iter().position(|&byte| byte == b'"')?;
    let value = std::str::from_utf8(&value[..end]).ok()?;
    (!value.contains('\\')).then_some(value)
}

fn after_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
    &text[blanks..]
}

/// A payload that looks like a JSON object, without the white space around it.
pub(crate) fn object(payload: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(payload).ok()?.trim_ascii();
    (text.len() >= 2 && text.starts_with('{') && text.ends_with('}')).then_some(text)
}

/// Appends a text as a JSON string.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::{name, object, push_string};

    #[test]
    fn the_name_is_found_wherever_it_stands_at_the_top() {
        assert_eq!(name(br#"{"hook_event_name":"Stop"}"#), Some("Stop"));
        assert_eq!(
            name(b"{\"a\":[1],\"hook_event_name\" \n:\t\"PreToolUse\"}"),
            Some("PreToolUse")
        );
    }

    #[test]
    fn text_that_quotes_an_event_does_not_name_it() {
        let quoted = br#"{"prompt":"{\"hook_event_name\":\"PreToolUse\"}","hook_event_name":"Stop"}"#;
        assert_eq!(name(quoted), Some("Stop"));
    }

    #[test]
    fn where_two_names_stand_none_is_believed() {
        let nested = br#"{"tool_input":{"hook_event_name":"PreToolUse"},"hook_event_name":"PostToolUse"}"#;
        assert_eq!(name(nested), None);
        let twice = br#"{"tool_input":{"hook_event_name":"Stop"},"hook_event_name":"Stop"}"#;
        assert_eq!(name(twice), Some("Stop"));
    }

    #[test]
    fn what_is_no_string_of_plain_text_is_no_name() {
        for payload in [
            &b""[..],
            b"{}",
            b"\xff\"hook_event_name\":\"Stop\"",
            br#"{"hook_event_name":1}"#,
            br#"{"hook_event_name":"#,
            br#"{"hook_event_name":"Stop"#,
            br#"{"hook_event_name":"S\u0074op"}"#,
        ] {
            assert_eq!(name(payload), None);
        }
    }

    #[test]
    fn random_bytes_around_a_name_never_panic() {
        let mut rng = fastrand::Rng::with_seed(7);
        let pieces: [&[u8]; 9] = [
            b"\"hook_event_name\"",
            b":",
            b"\"",
            b"\\",
            b"{",
            b"}",
            b" ",
            "é\u{2028}".as_bytes(),
            b"\xff\x00",
        ];
        for _ in 0..20_000 {
            let payload: Vec<u8> = (0..rng.usize(..12))
                .flat_map(|_| rng.choice(&pieces).unwrap().to_vec())
                .collect();
            let _ = (name(&payload), object(&payload));
        }
    }

    #[test]
    fn an_object_is_known_by_its_ends() {
        assert_eq!(object(b" \n{\"a\":1}\r\n"), Some("{\"a\":1}"));
        for payload in [&b""[..], b"[]", b"{", b"}", b"{\"a\":\xff}", b"\xef\xbb\xbf{}"] {
            assert_eq!(object(payload), None);
        }
    }

    #[test]
    fn text_becomes_a_string_of_json() {
        let mut json = String::new();
        push_string(&mut json, "a\"b\\c\n\u{1}é\u{7f}");
        assert_eq!(json, "\"a\\\"b\\\\c\\u000a\\u0001é\u{7f}\"");
    }
}
