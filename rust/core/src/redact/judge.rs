//! Whether a named value is a secret: code speaks of passwords far more often than it holds one.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::{fixed, is_placeholder, listed};
use super::named::{Manner, Named};

const HEAD_BYTES: usize = 80;
const LONG: usize = 16;
const FLAG_WORDS: &str = " flag flags option options argument arguments parameter and or to is are was from in for on if \
    when with as at by of the a an it this that must should will can cannot not only before after into via via: per \
    type description name value string help ";

macro_rules! expression {
    ($name:ident, $source:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| fixed($source));
    };
}

expression!(WEAK, r"(?i)secret|token|key|cred|\Apin\z");
expression!(
    TAIL_DENIED,
    r"(?i)\As?[_-]?(?:names?|ids?|urls?|uris?|paths?|files?|filename|fields?|types?|length|len|count|counts|limit|max|min|expiry|expires?(?:_?(?:in|at|on))?|expiration|ttl|policy|policies|manager|prompt|input|label|labels|hint|error|errors|message|msg|regex|pattern|reset|required|enabled|arn|ref|refs|version|provider|helper|service|store|class|form|placeholder|env|budget|budgets|usage|size|index|header|headers|strength|title|text|validator|changed|confirmation|bucket|rotation|scanning|scanner|endpoint|lifetime|format|kind|status|cost|price|per|ratio|rate|rates|window|digest|sha\d*|checksum|fingerprint|algorithm|hasher|hashers|hashing|cache|schema|command|cmd|model|models|marker|query|queries|visible|visibility|verified|position|offset|estimate|saved|savings|used|left|lookup|pos|by|strings?)[a-z_]*\z"
);
expression!(
    HEAD_DENIED,
    r"(?i)(?:\A|[_\-. ])(?:max|min|num|n|next|page|continuation|sync|cursor|count|total|input|output|prompt|completion|cached|sep|pad|eos|bos|unk|mask|stop|special|lex|no|has|is|show|forgot|reset|change|hide|toggle|missing|invalid|bad|wrong|public|cancellation|cancel|syntax|current|reasoning|budget|per|first|last|foreign|primary|partition|sort|cache|design|csrf|xsrf|authenticity)[_ -]?\z"
);
expression!(TYPE_PATH, r"::\w{0,40}\z");
expression!(
    IDENTIFIER,
    r"\A[A-Za-z_$][\w$]*(?:(?:\.|->|::|\?\.)[A-Za-z_]\w*)*\z"
);
expression!(
    QUANTITY,
    r"(?i)\A(?:0x[0-9a-f]{1,8}\z|[\d.,_]+[- ]?(?:ms|s|m|h|d|w|kb|mb|gb|k|bits?|bytes?|chars?|characters?|seconds?|minutes?|hours?|days?|weeks?|months?|years?|times?|tokens?|words?|digits?|%|x|st|nd|rd|th)?\z)"
);
expression!(
    TECHNICAL,
    r"(?i)\A(?:sha|md|hs|rs|es|ps|aes|utf|base|oauth|bcrypt|argon|x|v|http|p|ed|rfc|ripemd|blake|pbkdf|iso|ipv?|type|option|step|h|s|ec|k8s|win|python|py|part|id)[-_]?\d{1,5}(?:[-_./](?:[a-z]{1,10}|\d{1,4}))*\z"
);
expression!(ADDRESS, r"(?i)\A[a-z][a-z0-9+.-]{1,15}:(?P<rest>.*)/");
expression!(
    LOCATION,
    r"(?i)\A(?:[~.]{0,2}/[\w.-]{1,30}(?:/[\w.-]{1,40}){1,20}/?\z|\.{1,2}/|[\w-]{1,30}(?:/[\w.-]{1,30}){0,8}/?\.(?:py|js|ts|tsx|go|rs|java|json|ya?ml|toml|txt|md|env|pem|crt|key|cfg|ini|sh|sql|html|log)(?::\d+)*\z|arn:|[\w.+-]{1,64}@[\w-]{1,63}\.[\w.]{2,63}\z|/[\w.-]{1,40}\z)"
);
expression!(
    WORDS_ONLY,
    r"(?i)\A[a-z]+(?:(?:[-_./'+]|\xe2\x80\x99)[a-z]+)*(?:[.!?]|\xe2\x80\xa6)?\z"
);
expression!(UPPER_NAME, r"\A[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\z");
expression!(
    SPEAKS_OF_SECRETS,
    r"(?i)passw|secret|token|key|credential|pwd|auth"
);
expression!(COLOUR, r"(?i)\A#(?:[0-9a-f]{3,4}|[0-9a-f]{6}|[0-9a-f]{8})\z");
expression!(HASH, r"(?i)\A(?:sha\d+|md5|blake\w+)[-:=]");
expression!(YAML_HEAD, r#"\A[\s\-#>*"'+]*(?:[\w.\-]{0,60}?)["']?\z"#);
expression!(
    OPERATION,
    r"\A(?:[!*&]{1,2}|[A-Za-z_][\w.]*(?:[-+*/%=!]=?|\?\.|\?\?|->))[A-Za-z_][\w.]*\z"
);
expression!(
    KEY,
    r"(?i)\A(?P<head>(?:.{0,64}[_.\- ])?)(?:password|passwd|passphrase|passcode|pwd|pass|secret|token|credentials?|(?:api|access|auth|private|signing|encryption|account|master|secret)[_-]?key)(?P<tail>(?:[_-].{0,32})?)\z"
);

/// The range of the secret in what was found, or nothing where the value does not look like one.
pub(crate) fn secret(found: &Named<'_>) -> Option<(usize, usize)> {
    if found.manner != Manner::Told && speaks_about(found) {
        return None;
    }
    let (start, end) = found.value;
    let value = found.text.get(start..end)?;
    if found.manner == Manner::Told && (found.name == b"pin" || !is_told(value, found)) {
        return None;
    }
    if found.quoted {
        return quoted(value, found).then_some((start, end));
    }
    if value.ends_with(b"...") || (found.operator.contains(&b'\n') && opens_line(found, end)) {
        return None;
    }
    let kept = value.len()
        - value
            .iter()
            .rev()
            .take_while(|byte| b".,:;)?".contains(byte))
            .count();
    let value = value.get(..kept)?;
    (!value.is_empty() && !found.bracket && plain(value, found)).then_some((start, start + kept))
}

/// Whether a value on the line after its name is the next line's name.
fn opens_line(found: &Named<'_>, end: usize) -> bool {
    let value = found.text.get(found.value.0..end).unwrap_or_default();
    value.iter().any(|byte| matches!(byte, b'=' | b':')) || matches!(found.text.get(end), Some(b'=' | b':'))
}

/// Whether a value that an expression found is more than a name or a place.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    let inside = value.strip_suffix(b"\"").or_else(|| value.strip_suffix(b"'"));
    let value = match (value.first().is_some_and(quote), inside) {
        (true, Some(inside)) => inside.get(1..).unwrap_or_default(),
        _ => value,
    };
    let path = value.iter().any(|byte| b"._=".contains(byte))
        && (IDENTIFIER.is_match(value) || OPERATION.is_match(value));
    (!path || is_random(value)) && !is_known_shape(value) && !is_placeholder(value)
}

/// Whether a key of a mapping says that its value is a secret.
pub(crate) fn names_secret(key: &str) -> bool {
    let mut split = String::with_capacity(key.len() + 4);
    let mut previous = ' ';
    for char in key.chars() {
        if char.is_ascii_uppercase() && (previous.is_ascii_lowercase() || previous.is_ascii_digit()) {
            split.push('_');
        }
        split.push(char);
        previous = char;
    }
    KEY.captures(split.as_bytes()).is_some_and(|found| {
        let part = |name| found.name(name).map_or(&b""[..], |part| part.as_bytes());
        !TAIL_DENIED.is_match(part("tail")) && !HEAD_DENIED.is_match(part("head"))
    })
}

/// Whether the name speaks of a secret's property (`token_count`, `max_tokens`), not of a secret.
fn speaks_about(found: &Named<'_>) -> bool {
    let tail = found.tail;
    let denied = !tail.is_empty() && TAIL_DENIED.is_match(tail);
    let of_credentials = found.name.to_ascii_lowercase().starts_with(b"cred");
    if denied || (tail.first().is_some_and(u8::is_ascii_lowercase) && !of_credentials) {
        return tail != b"s" || found.operator.trim_ascii() != b"=";
    }
    let head = head(found);
    HEAD_DENIED.is_match(head) || TYPE_PATH.is_match(head) || head.ends_with(b"jsonweb")
}

/// What stands on the line before the name.
fn head<'t>(found: &Named<'t>) -> &'t [u8] {
    let before = found
        .text
        .get(found.start.saturating_sub(HEAD_BYTES)..found.start)
        .unwrap_or_default();
    before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default()
}

/// Whether the name can only be that of a password.
fn strong(found: &Named<'_>) -> bool {
    !WEAK.is_match(found.name)
}

fn quoted(value: &[u8], found: &Named<'_>) -> bool {
    if value.len() < 4 || is_placeholder(value) || is_known_shape(value) {
        return false;
    }
    if value.iter().any(u8::is_ascii_whitespace) {
        return found.name.eq_ignore_ascii_case(b"passphrase") && is_phrase(value);
    }
    if found.operator.trim_ascii() == b"," {
        return !found.close.is_empty() && is_random(value);
    }
    if found.manner == Manner::Prose && is_name_like(value) && !is_random(value) {
        return false;
    }
    if IDENTIFIER.is_match(value) {
        return named(value, strong(found));
    }
    if WORDS_ONLY.is_match(value) {
        return strong(found) && value.contains(&b'-') && !SPEAKS_OF_SECRETS.is_match(value);
    }
    !QUANTITY.is_match(value) || (strong(found) && is_decimal(value))
}

/// Whether a quoted identifier is a secret and not the name of one.
fn named(value: &[u8], strong: bool) -> bool {
    if is_random(value) {
        return true;
    }
    let compound =
        value.iter().any(|byte| b"._".contains(byte)) || value.windows(2).any(|pair| pair == b"::");
    if compound || SPEAKS_OF_SECRETS.is_match(value) {
        return false;
    }
    strong || digits(value) >= 2 || (value.len() >= 8 && alternates(value))
}

/// Whether upper and lower case alternate inside, unlike in a name.
fn alternates(value: &[u8]) -> bool {
    let changes = value
        .iter()
        .zip(value.iter().skip(1))
        .filter(|(one, next)| one.is_ascii_uppercase() != next.is_ascii_uppercase());
    3 * changes.count() >= value.len()
}

fn plain(value: &[u8], found: &Named<'_>) -> bool {
    let shell =
        found.operator.starts_with(b":") && found.start > 0 && found.text.get(found.start - 1) == Some(&b'$');
    let arrow = value.ends_with(b"-") && found.text.get(found.value.0 + value.len()) == Some(&b'>');
    if shell || arrow {
        return false;
    }
    let expands = found.text.get(found.value.0 + value.len()) == Some(&b'}') && value.starts_with(b"+");
    let sign = expands || value.first().is_some_and(|byte| b"-=:.@".contains(byte));
    if value.len() < 4 || sign || is_placeholder(value) || is_known_shape(value) {
        return false;
    }
    if found.name.to_ascii_lowercase().starts_with(b"cred") {
        return digits(value) >= 2
            && is_random(value)
            && !IDENTIFIER.is_match(value)
            && !OPERATION.is_match(value);
    }
    let strong = strong(found);
    if QUANTITY.is_match(value) {
        return strong && is_decimal(value) && value.len() >= 6;
    }
    if is_environment(found) {
        return strong || !WORDS_ONLY.is_match(value) || value.len() >= LONG;
    }
    if found.operator.trim_ascii() == b"," {
        return found.manner == Manner::Flag && is_random(value);
    }
    if WORDS_ONLY.is_match(value) || (is_name_like(value) && digits(value) == 0) {
        return strong && stands_alone(value, found);
    }
    if IDENTIFIER.is_match(value) {
        return identifier(value);
    }
    value.len() >= 6 && (!OPERATION.is_match(value) || is_random(value))
}

/// Whether an unquoted identifier with a digit is a secret and not a variable.
fn identifier(value: &[u8]) -> bool {
    let path = value.contains(&b'.') || value.windows(2).any(|pair| pair == b"->" || pair == b"::");
    if path {
        return is_random(value);
    }
    if value.contains(&b'_') || SPEAKS_OF_SECRETS.is_match(value) {
        let ends = value.len() >= 2 && value.iter().rev().take(2).all(u8::is_ascii_digit);
        return (is_random(value) && value.contains(&b'_')) || (digits(value) >= 2 && ends);
    }
    value.len() >= 6 && digits(value) >= 1
}

/// Whether words without a digit are a value: alone on their line, or the last argument of a flag.
fn stands_alone(value: &[u8], found: &Named<'_>) -> bool {
    let lowered = value.to_ascii_lowercase();
    if SPEAKS_OF_SECRETS.is_match(value) || listed(FLAG_WORDS, &lowered) || found.manner == Manner::Prose {
        return false;
    }
    let end = found.value.0 + value.len();
    let rest = found
        .text
        .get(end..found.text.len().min(end + 3))
        .unwrap_or_default();
    let past = rest.iter().position(|byte| !b" \t".contains(byte));
    let ends = match past.and_then(|at| rest.get(at..)) {
        None => true,
        Some(more) => matches!(more.first(), Some(b'\n' | b'\r' | b'#')) || more.starts_with(b"\\n"),
    };
    if found.manner == Manner::Flag {
        return ends || rest.starts_with(b" -");
    }
    let names_type =
        value.first().is_some_and(u8::is_ascii_uppercase) && value.iter().all(u8::is_ascii_alphabetic);
    let blank = found.operator.last().is_some_and(u8::is_ascii_whitespace);
    let yaml = found.operator.trim_ascii_start().starts_with(b":") && blank;
    ends && yaml && !names_type && !is_name(value) && YAML_HEAD.is_match(head(found))
}

/// Whether the value is a name in camelCase or with underscores.
fn is_name(value: &[u8]) -> bool {
    let camel = value.first().is_some_and(u8::is_ascii_lowercase) && value.iter().any(u8::is_ascii_uppercase);
    camel || value.iter().any(|byte| b"._".contains(byte))
}

/// Whether this is `NAME=value` of a shell or an env file.
fn is_environment(found: &Named<'_>) -> bool {
    if found.operator != b"=" || !found.close.is_empty() {
        return false;
    }
    let upper = |part: &[u8]| !part.iter().any(u8::is_ascii_lowercase);
    let head = head(found);
    let kept = head.len() - head.iter().rev().take_while(|&&byte| byte == b'_').count();
    upper(found.name) && upper(found.tail) && head.get(..kept).and_then(<[u8]>::last) != Some(&b'.')
}

/// Whether the value is a place, a technical term, an env name or a hash that names its algorithm.
fn is_known_shape(value: &[u8]) -> bool {
    let address = ADDRESS.captures(value).is_some_and(|found| {
        let rest = found.name("rest").map_or(value.len(), |rest| rest.start());
        value.starts_with(b"http")
            || !value
                .get(rest..)
                .unwrap_or_default()
                .iter()
                .any(|byte| b"!#$^*".contains(byte))
    });
    address
        || LOCATION.is_match(value)
        || TECHNICAL.is_match(value)
        || UPPER_NAME.is_match(value)
        || HASH.is_match(value)
        || COLOUR.is_match(value)
}

/// Whether the value mixes letters, digits and signs as no word does.
pub(crate) fn is_random(value: &[u8]) -> bool {
    if value.len() < 6 || QUANTITY.is_match(value) || TECHNICAL.is_match(value) {
        return false;
    }
    let digits = digits(value);
    let letters = value
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
        .count();
    let neutral = value.iter().filter(|byte| b"_-. ".contains(byte)).count();
    let signs = value.len() - digits - letters - neutral;
    (value.len() >= 20 && alternates(value))
        || (digits >= 2 && letters >= 2 && value.len() >= 8)
        || (digits >= 1 && signs >= 1 && letters >= 2)
}

/// Whether a value that stands right behind its name can be nothing but a secret.
fn is_told(value: &[u8], found: &Named<'_>) -> bool {
    let upper = value.iter().any(u8::is_ascii_uppercase);
    let lower = value.iter().any(u8::is_ascii_lowercase);
    let sign = value.iter().any(|byte| b"!#$%&*@^+~?".contains(byte));
    let class = |byte: &u8| {
        (
            byte.is_ascii_digit(),
            byte.is_ascii_uppercase(),
            byte.is_ascii_lowercase(),
        )
    };
    let changes = value
        .iter()
        .zip(value.iter().skip(1))
        .filter(|(one, next)| class(one) != class(next))
        .count();
    let least = if strong(found) { 8 } else { LONG };
    value.len() >= least
        && is_random(value)
        && (found.quoted && strong(found) || (changes >= 3 && (sign || (upper && lower))))
}

fn is_phrase(value: &[u8]) -> bool {
    let words: Vec<&[u8]> = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .collect();
    (3..=12).contains(&words.len()) && words.iter().all(|word| word.iter().all(u8::is_ascii_lowercase))
}

fn is_name_like(value: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    !value.first().is_some_and(u8::is_ascii_digit) && value.iter().all(word)
}

fn is_decimal(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit)
}

fn digits(value: &[u8]) -> usize {
    value.iter().filter(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::names_secret;

    #[test]
    fn a_key_names_a_secret_by_its_last_words() {
        for key in [
            "password",
            "dbPassword",
            "apiToken",
            "client_secret",
            "AWS_SECRET_ACCESS_KEY",
            "private-key",
        ] {
            assert!(names_secret(key), "{key}");
        }
        for key in [
            "max_tokens",
            "token_count",
            "passwordHint",
            "key",
            "nextToken",
            "author",
            "secretName",
        ] {
            assert!(!names_secret(key), "{key}");
        }
    }
}
