//! Personal data, looked for only where a user asks for it: addresses, telephone numbers, cards and accounts.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::filters::fixed;

/// The names of these rules, in the order in which they are preferred.
pub(crate) const NAMES: [&str; 4] = ["iban", "card_number", "mail_address", "phone_number"];

static IBAN: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"));
static CARD: LazyLock<Regex> = LazyLock::new(|| fixed(r"\b\d(?:[ -]?\d){12,18}\b"));
static MAIL: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}\b",
    )
});
static PHONE: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"(?:\+|\b00)[1-9]\d{0,2}(?:[ ./-]?\(?\d{1,5}\)?){2,6}\b|\(\d{3}\) ?\d{3}[-. ]\d{4}\b|\b0\d{2,4}[ /-]\d{3,8}(?:[ -]\d{2,5}){0,2}\b",
    )
});
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// What the digits and letters of a match must fulfil.
type Test = fn(&[u8]) -> bool;

/// Kind, start and end of what looks like personal data.
pub(crate) fn find(text: &[u8]) -> Vec<(usize, usize, usize)> {
    let tests: [(&Regex, Test); 4] = [
        (&IBAN, is_iban),
        (&CARD, is_card),
        (&MAIL, is_mail),
        (&PHONE, |value| PHONE_DIGITS.contains(&digits(value).count())),
    ];
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (kind, (expression, fits)) in tests.into_iter().enumerate() {
        let matches = expression
            .find_iter(text)
            .filter(|one| fits(one.as_bytes()) && !continues(text, one.start()));
        found.extend(matches.map(|one| (kind, one.start(), one.end())));
    }
    found.sort_unstable_by_key(|&(kind, start, _)| (start, kind));
    found.dedup_by(|next, kept| next.1 < kept.2 && next.0 > kept.0);
    found
}

/// Whether groups of digits go on from before `start`.
fn continues(text: &[u8], start: usize) -> bool {
    let before = text.get(..start).unwrap_or_default();
    let before = before.strip_suffix(b" ").unwrap_or(before);
    before.last().is_some_and(u8::is_ascii_digit)
}

fn digits(value: &[u8]) -> impl DoubleEndedIterator<Item = u32> + '_ {
    value
        .iter()
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| u32::from(byte - b'0'))
}

/// Luhn's sum, and the first digit of an issuer of cards.
fn is_card(value: &[u8]) -> bool {
    let sum: u32 = digits(value)
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, doubled) => doubled / 10 + doubled % 10,
        })
        .sum();
    sum.is_multiple_of(10)
        && matches!(digits(value).next(), Some(2..=6))
        && digits(value).any(|digit| digit != 0)
}

/// The remainder by 97 that ISO 13616 asks for.
fn is_iban(value: &[u8]) -> bool {
    let plain: Vec<u8> = value.iter().copied().filter(|byte| *byte != b' ').collect();
    if !(15..=34).contains(&plain.len()) {
        return false;
    }
    let (head, body) = plain.split_at(4);
    let remainder = body.iter().chain(head).fold(0_u32, |rest, &byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

/// No address of a service, of an example, or of a remote repository.
fn is_mail(value: &[u8]) -> bool {
    static NOBODY: LazyLock<Regex> = LazyLock::new(|| {
        fixed(
            r"(?i)\A(?:git|noreply|no-reply)@|@(?:[\w-]+\.)*example\.|\.(?:example|invalid|test|local)\z|@\dx?\.",
        )
    });
    !NOBODY.is_match(value)
}

#[cfg(test)]
mod tests {
    use super::{NAMES, find};

    fn kinds(text: &str) -> Vec<&str> {
        find(text.as_bytes())
            .into_iter()
            .filter_map(|(kind, _, _)| NAMES.get(kind).copied())
            .collect()
    }

    #[test]
    fn what_a_checksum_confirms_is_found_and_nothing_else() {
        assert_eq!(kinds("pay 4111 1111 1111 1111 now"), ["card_number"]);
        assert!(kinds("pay 4111 1111 1111 1112 now").is_empty());
        assert_eq!(kinds("to DE89 3704 0044 0532 0130 00."), ["iban"]);
        assert!(kinds("to DE89 3704 0044 0532 0130 01.").is_empty());
        assert_eq!(kinds("ask ada.lovelace@analytical.org"), ["mail_address"]);
        assert!(kinds("git@github.com:a/b and a@b.example").is_empty());
        assert_eq!(kinds("call +49 30 901820 today"), ["phone_number"]);
        assert!(kinds("v1.2.3, 2026-11-23, 10.0.0.1, 1234567890123").is_empty());
    }
}
