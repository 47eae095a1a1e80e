use super::{Redactor, fingerprint, is_placeholder};

fn redactor() -> Redactor {
    Redactor::new(false, []).expect("the tables are well formed")
}

/// A key that no scanner should find in this file.
fn key() -> String {
    ["sk-", "ant-", "oat01-", "Qm9vTHVua3lXYXRlclBpcGU5"].concat()
}

#[test]
fn what_is_replaced_says_by_which_rule() {
    let rules = redactor();
    let text = format!("ключ — {} и всё", key());
    let clean = rules.redact(&text).expect("there is a secret");
    assert_eq!(clean.text, "ключ — [redacted:anthropic_key] и всё");
    assert_eq!(clean.counts.get("anthropic_key"), Some(&1));
    assert_eq!(rules.redact(&clean.text), None);
    let found = rules.find(&text);
    assert_eq!(&text[found[0].start..found[0].end], key());
}

#[test]
fn of_overlapping_finds_the_earlier_rule_names_the_secret() {
    let rules = redactor();
    let clean = rules
        .redact(&format!("API_TOKEN={}", key()))
        .expect("there is a secret");
    assert_eq!(clean.text, "API_TOKEN=[redacted:anthropic_key]");
}

#[test]
fn an_allowed_value_stays_under_its_rule_alone() {
    let allowed = Redactor::new(false, [("anthropic_key".to_owned(), fingerprint(&key()))]);
    let allowed = allowed.expect("the tables are well formed");
    let text = format!("the key {} is of the documentation", key());
    assert_eq!(allowed.redact(&text), None);
    assert!(allowed.redact(&text.replace("oat01", "oat02")).is_some());
}

#[test]
fn personal_data_is_taken_out_only_where_that_is_asked() {
    let text = "ask ada@analytical.org about 4111 1111 1111 1111";
    assert_eq!(redactor().redact(text), None);
    let rules = Redactor::new(true, []).expect("the tables are well formed");
    let clean = rules.redact(text).expect("there is personal data");
    assert_eq!(
        clean.text,
        "ask [redacted:mail_address] about [redacted:card_number]"
    );
}

#[test]
fn a_placeholder_is_no_secret() {
    let rules = redactor();
    for text in [
        "password=[redacted:assignment]",
        "://u:[redacted:url_password]@h",
        "token: [redacted:jwt] [redacted:x",
    ] {
        assert_eq!(rules.redact(text), None, "{text}");
    }
    assert!(is_placeholder("[redacted:jwt]"));
}
