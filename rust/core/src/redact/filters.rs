//! What decides whether a value that has the shape of a secret is one.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::judge;
use super::table::{Filter, Rule, Target, compile};

const VARIETY_MIN: usize = 3;
const REPEATS_MIN: usize = 8;
const LOOK_BACK_BYTES: usize = 160;

/// An expression of this module or its neighbours; a test uses each.
#[allow(clippy::expect_used, reason = "constants, each of which a test uses")]
pub(crate) fn fixed(source: &str) -> Regex {
    compile(source).expect("a constant expression compiles")
}

static MASKED: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"x{4}|X{4}|\*{3}|\.{3}|\xe2\x80\xa6|(?:\xe2\x80\xa2){3}|(?:\A|[^A-Za-z0-9])y{4}|#{4}|(?i:here)_{0,4}\z|1234567890\z|abcdefghijklmnopqrstuvwxyz",
    )
});
static ENVIRONMENT: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"(?i)process\.env|os\.environ|getenv|import\.meta\.env|\benv[.(\[]|\bsecrets\.|\bvault:|\bvar\.|ENC\[",
    )
});
static TEMPLATE: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"\A(?:\$[A-Za-z_]\w*\z|\$\{|\$\(|\{\{|\{[^{}]*\}|<[^<>]*>|%[sd]\z|%\(|%\w+%|#\{|@@|\[redacted:|\$env:|!vault|\[[A-Za-z_ -]+\]\z|[^{}]*\{[a-z_.]{0,40}\}|\$[\w-]+\$\z|%(?:\[\d\])?[sdv](?:\z|_)|\[\^?[A-Za-z0-9]-[A-Za-z0-9]|\w+>\z|[A-Z0-9/+]{12,}EXAMPLE\z|[A-Za-z0-9/+]{20,}EXAMPLEKEY\z|\\?\z)",
    )
});
static STAND_IN: LazyLock<Regex> = LazyLock::new(|| {
    fixed(
        r"(?i)\A(?:(?:an?|your|my|the|some|insert|enter|replace|put|use|add|new|paste|provide|set)[-_ ](?:[a-z]{1,20}[-_ ]){0,4}(?:here|token|key|secret|passw(?:or)?d|value|pw|pass|it|me)\z|(?:your|my|the)(?:api|access|secret|auth|private)?(?:token|key|secret|passw(?:or)?d)(?:here)?\z|(?:[a-z]{1,12}[-_ ]){1,3}(?:here|placeholder)\z)",
    )
});
const DUMMIES: &str = " access admin_password api_key apikey auth authentication authorization bar baz bearer basic changeit changeme change-me \
    change_me config credential credentials default demo dev development disabled dummy empty enabled env example \
    examplekey fake false foo foobar hidden invalid key local localhost masked missing mock mypassword nil no none \
    null off ok on optional pass passwd password passphrase placeholder private prod production prompt public pw pwd \
    redacted refresh removed required sample secret secretkey set staging stdin str string tbd test testing todo \
    token true undefined unset user username valid value yes yourpassword input text hash encrypted expired rotated \
    number boolean bool int integer any object unknown never bytes secretstr optional[str] char varchar void ";

/// Whether a word stands in a list of words that blanks separate and surround.
pub(crate) fn listed(list: &str, word: &[u8]) -> bool {
    !word.is_empty()
        && !word.contains(&b' ')
        && str::from_utf8(word).is_ok_and(|word| {
            list.match_indices(word).any(|(at, found)| {
                list.as_bytes().get(at.wrapping_sub(1)) == Some(&b' ')
                    && list.as_bytes().get(at + found.len()) == Some(&b' ')
            })
        })
}

/// Whether a value stands for a secret instead of being one: a template, a variable, a dummy word.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    let bare = value.trim_ascii();
    let bare = bare.strip_suffix(b":").unwrap_or(bare);
    let lowered = bare.to_ascii_lowercase();
    listed(DUMMIES, &lowered)
        || variety(&lowered) < VARIETY_MIN
        || repeats(bare)
        || TEMPLATE.is_match(bare)
        || MASKED.is_match(value)
        || STAND_IN.is_match(&lowered)
        || ENVIRONMENT.is_match(value)
}

/// Whether one byte stands many times in a row.
fn repeats(value: &[u8]) -> bool {
    value
        .windows(REPEATS_MIN)
        .any(|part| part.iter().all(|byte| part.first() == Some(byte)))
}

/// How many different bytes a value has.
fn variety(value: &[u8]) -> usize {
    let mut seen = [false; 256];
    value
        .iter()
        .filter(|&&byte| {
            let slot = seen.get_mut(usize::from(byte));
            slot.is_some_and(|slot| !std::mem::replace(slot, true))
        })
        .count()
}

/// Shannon entropy of the bytes of a value, in bits a byte.
pub(crate) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in value {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = value.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let share = f64::from(count) / total;
            -share * share.log2()
        })
        .sum()
}

/// A match: where the whole of it and the secret in it stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) secret: (usize, usize),
}

/// Whether what a rule found is a secret by everything that the rule asks.
pub(crate) fn accepts(rule: &Rule, text: &[u8], found: Candidate, hash: impl Fn(&[u8]) -> u64) -> bool {
    let Some(secret) = text.get(found.secret.0..found.secret.1) else {
        return false;
    };
    let tail = secret.get(secret.len().saturating_sub(12)..).unwrap_or(secret);
    !secret.is_empty()
        && !MASKED.is_match(secret)
        && !is_masked(text.get(found.secret.1..).unwrap_or_default())
        && variety(tail) >= VARIETY_MIN
        && rule.filters.iter().all(|filter| passes(*filter, secret))
        && (rule.before.is_empty() || stands_before(rule, text, found.start))
        && (rule.entropy <= 0.0 || (entropy(secret) > rule.entropy && !is_common(secret)))
        && !is_allowed(rule, text, found, secret)
        && (rule.known.is_empty() || !rule.known.contains(&hash(secret)))
}

fn passes(filter: Filter, secret: &[u8]) -> bool {
    match filter {
        Filter::Real => !is_placeholder(secret),
        Filter::Digit => secret.iter().any(u8::is_ascii_digit),
        Filter::Mixed => {
            secret.iter().any(u8::is_ascii_uppercase)
                && secret.iter().any(u8::is_ascii_lowercase)
                && secret
                    .iter()
                    .any(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'+'))
        }
        Filter::Value => judge::is_value(secret),
        Filter::Random => judge::is_random(secret),
        Filter::Token => holds_token(secret),
        Filter::Credentials => holds_credentials(secret),
        Filter::Example => !secret.ends_with(b"EXAMPLE") && !secret.ends_with(b"EXAMPLEKEY"),
    }
}

/// Whether a part between separators is too long or too mixed to be a word.
fn holds_token(secret: &[u8]) -> bool {
    secret
        .split(|byte| b"-_./".contains(byte))
        .any(|part| part.len() >= 12 && part.iter().any(u8::is_ascii_digit))
}

/// Whether a text in base64 says "user:password".
fn holds_credentials(text: &[u8]) -> bool {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => Some(u32::from(byte - b'A')),
        b'a'..=b'z' => Some(u32::from(byte - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(byte - b'0') + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let (mut bits, mut held, mut colon) = (0_u32, 0_u32, false);
    for byte in text.iter().copied().take_while(|&byte| byte != b'=') {
        let Some(value) = sextet(byte) else {
            return false;
        };
        bits = (bits << 6 | value) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let decoded = bits >> held & 0xff;
            if !(0x20..0x7f).contains(&decoded) {
                return false;
            }
            colon |= decoded == u32::from(b':');
        }
    }
    colon
}

/// Whether signs that mask the rest of a secret follow it.
fn is_masked(rest: &[u8]) -> bool {
    [b'#', b'*'].iter().any(|sign| {
        rest.get(..4)
            .is_some_and(|part| part.iter().all(|byte| byte == sign))
    })
}

/// Values that the rule sets call no secret wherever they stand: alphabets and paths.
fn is_common(secret: &[u8]) -> bool {
    static PLACES: LazyLock<Regex> = LazyLock::new(|| {
        fixed(r"(?i)abcdefghijklmnopqrstuvwxyz|\A/(?:users|bin|etc|home|opt|tmp|usr|var)/[\w ./-]+\z")
    });
    PLACES.is_match(secret) || TEMPLATE.is_match(secret)
}

fn stands_before(rule: &Rule, text: &[u8], start: usize) -> bool {
    let before = text
        .get(start.saturating_sub(LOOK_BACK_BYTES)..start)
        .unwrap_or_default();
    let line = before
        .rsplit(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    rule.before
        .iter()
        .any(|word| line.windows(word.len()).any(|part| part == word.as_bytes()))
}

fn is_allowed(rule: &Rule, text: &[u8], found: Candidate, secret: &[u8]) -> bool {
    if rule.allowed.is_empty() && rule.stop.is_empty() {
        return false;
    }
    let whole = text.get(found.start..found.end).unwrap_or_default();
    let lowered = secret.to_ascii_lowercase();
    rule.allowed.iter().any(|(target, expression)| match target {
        Target::Secret => expression.get().is_match(secret),
        Target::Match => expression.get().is_match(whole),
        Target::Line => expression.get().is_match(line_of(text, found.start)),
    }) || rule.stop.iter().any(|word| contains(&lowered, word.as_bytes()))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

/// The line around a place, at most a few hundred bytes of it either side.
fn line_of(text: &[u8], at: usize) -> &[u8] {
    let from = at.saturating_sub(LOOK_BACK_BYTES);
    let start = text
        .get(from..at)
        .and_then(|before| before.iter().rposition(|&byte| byte == b'\n'))
        .map_or(from, |position| from + position + 1);
    let limit = text.len().min(at + 4 * LOOK_BACK_BYTES);
    let rest = text.get(start..limit).unwrap_or_default();
    rest.split(|&byte| byte == b'\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{entropy, is_placeholder};

    #[test]
    fn a_value_that_stands_for_a_secret_is_a_placeholder() {
        for value in [
            "changeme",
            "${TOKEN}",
            "<your key>",
            "your-token-here",
            "os.environ[x]",
            "xxxxxxxx",
            "aaaa",
            "…abc",
            "%s",
            "optional[str]",
        ] {
            assert!(is_placeholder(value.as_bytes()), "{value}");
        }
        for value in ["hunter2", "Zq8kP2", "change", "s p a c e"] {
            assert!(!is_placeholder(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn entropy_counts_bits_a_byte() {
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abababab"), 1.0);
        assert_eq!(entropy(b"abcd"), 2.0);
    }
}
