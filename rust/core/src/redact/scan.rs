//! One pass over a text: at each keyword, what its rules find.

use super::filters::{Candidate, accepts};
use super::named::{self, Named};
use super::table::{Edge, Rule, Style};
use super::{Redactor, Span, blocks, hashed, judge, pii, whole};

/// How far ahead an anchored expression looks at first; a match that ends there is looked for again, farther.
const AHEAD: usize = 640;
/// How far a secret behind a name and an operator may reach.
const NEAR_AHEAD: usize = 700;

/// What a keyword sets off.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Use {
    Private,
    Pem,
    /// A name that an assignment, an option or a sentence may follow.
    Stem,
    /// A name that only a sentence follows.
    Spoken,
    Rule(usize),
}

/// Ranks of what is not in the tables; private blocks and keys are 0 and 1.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) named: usize,
    pub(crate) pii: usize,
}

/// How far a rule has looked, and the window that still waits.
struct Progress {
    rule: usize,
    done: usize,
    window: Option<(usize, usize)>,
}

struct Scan<'r, 't> {
    redactor: &'r Redactor,
    text: &'t [u8],
    spans: Vec<Span>,
    progress: Vec<Progress>,
    /// Where the last assignment, option and sentence end.
    named: [usize; 3],
    private: bool,
    pem: bool,
}

/// Everything that the rules find in a text, overlaps and all.
pub(crate) fn spans(redactor: &Redactor, text: &[u8]) -> Vec<Span> {
    let mut scan = Scan {
        redactor,
        text,
        spans: Vec::new(),
        progress: Vec::new(),
        named: [0; 3],
        private: false,
        pem: false,
    };
    for found in redactor.keywords.find_overlapping_iter(text) {
        if let Some(uses) = redactor.uses.get(found.pattern().as_usize()) {
            for kind in uses {
                scan.look(*kind, found.start(), found.end());
            }
        }
    }
    scan.finish()
}

impl Scan<'_, '_> {
    fn look(&mut self, kind: Use, start: usize, end: usize) {
        match kind {
            Use::Private => self.private = true,
            Use::Pem => self.pem = true,
            Use::Stem => {
                self.name(0, named::assignment(self.text, start));
                self.name(1, named::flag(self.text, start));
                self.name(2, named::prose(self.text, start));
            }
            Use::Spoken => self.name(2, named::prose(self.text, start)),
            Use::Rule(index) => {
                let redactor = self.redactor;
                if let Some(rule) = redactor.rules.get(index) {
                    match rule.style {
                        Style::Window => self.widen(index, rule, start, end),
                        Style::Anchored(edge) => self.anchored(index, rule, edge, start),
                        Style::Near => self.near(index, rule, start, end),
                    }
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Span> {
        for index in 0..self.progress.len() {
            let waiting = self.progress.get_mut(index).and_then(|progress| {
                let window = progress.window.take()?;
                Some((progress.rule, window))
            });
            if let Some((rule, window)) = waiting {
                self.window(rule, window);
            }
        }
        if self.private {
            self.keep(0, &blocks::private(self.text));
        }
        if self.pem {
            self.keep(1, &blocks::pem(self.text));
        }
        if self.redactor.pii {
            for (kind, start, end) in pii::find(self.text) {
                self.keep(self.redactor.fixed.pii + kind, &[(start, end)]);
            }
        }
        self.spans
    }

    fn keep(&mut self, rank: usize, spans: &[(usize, usize)]) {
        self.spans
            .extend(spans.iter().map(|&(start, end)| Span { rank, start, end }));
    }

    fn name(&mut self, manner: usize, found: Option<Named<'_>>) {
        let Some(found) = found else { return };
        let Some(position) = self.named.get_mut(manner) else {
            return;
        };
        if found.start < *position {
            return;
        }
        if let Some(span) = judge::secret(&found) {
            *position = span.1;
            self.keep(self.redactor.fixed.named + manner, &[span]);
        }
    }

    fn progress(&mut self, rule: usize) -> Option<&mut Progress> {
        let index = self
            .progress
            .iter()
            .position(|progress| progress.rule == rule)
            .unwrap_or_else(|| {
                self.progress.push(Progress {
                    rule,
                    done: 0,
                    window: None,
                });
                self.progress.len() - 1
            });
        self.progress.get_mut(index)
    }

    fn done(&mut self, rule: usize) -> usize {
        self.progress
            .iter()
            .find(|progress| progress.rule == rule)
            .map_or(0, |progress| progress.done)
    }

    fn mark(&mut self, rule: usize, end: usize) {
        if let Some(progress) = self.progress(rule) {
            progress.done = progress.done.max(end);
        }
    }

    /// Adds what is around a keyword to the window that waits, or searches that one first.
    fn widen(&mut self, index: usize, rule: &Rule, start: usize, end: usize) {
        let window = (
            start.saturating_sub(rule.window.0),
            self.text.len().min(end + rule.window.1),
        );
        let Some(progress) = self.progress(index) else {
            return;
        };
        let waiting = match progress.window {
            Some(waiting) if window.0 <= waiting.1 => {
                progress.window = Some((waiting.0, window.1.max(waiting.1)));
                None
            }
            waiting => {
                progress.window = Some(window);
                waiting
            }
        };
        if let Some(waiting) = waiting {
            self.window(index, waiting);
        }
    }

    /// Searches a window; a match that reaches its end is followed beyond.
    fn window(&mut self, index: usize, (start, mut end): (usize, usize)) {
        let redactor = self.redactor;
        let Some(rule) = redactor.rules.get(index) else {
            return;
        };
        let mut at = start.max(self.done(index));
        while let Some(part) = self.text.get(..end).filter(|_| at < end) {
            let Some(found) = rule.expression.get().find_at(part, at) else {
                break;
            };
            if found.end() == end && end < self.text.len() {
                end = self.text.len().min(end + (end - found.start()).max(AHEAD));
                continue;
            }
            let candidate = secret_of(rule, part, found.start(), found.end());
            self.judge(index, rule, candidate);
            at = candidate.secret.1.max(found.start() + 1);
        }
        self.mark(index, at.min(self.text.len()));
    }

    fn anchored(&mut self, index: usize, rule: &Rule, edge: Edge, start: usize) {
        let before = start.checked_sub(1).and_then(|at| self.text.get(at)).copied();
        let fits = before.is_none_or(|byte| match edge {
            Edge::Any => true,
            Edge::Word => !byte.is_ascii_alphanumeric(),
            Edge::Space => byte.is_ascii_whitespace(),
        });
        if !fits || start < self.done(index) {
            return;
        }
        let mut end = self.text.len().min(start + AHEAD);
        while let Some(part) = self.text.get(start..end) {
            let Some(found) = rule.expression.get().find(part) else {
                return;
            };
            if start + found.end() == end && end < self.text.len() {
                end = self.text.len().min(end + (end - start));
                continue;
            }
            let inside = secret_of(rule, part, 0, found.end());
            let candidate = Candidate {
                start,
                end: start + inside.end,
                secret: (start + inside.secret.0, start + inside.secret.1),
            };
            self.judge(index, rule, candidate);
            self.mark(index, candidate.secret.1);
            return;
        }
    }

    /// Behind a name: a few characters of it, an operator, quotes, and then the secret.
    fn near(&mut self, index: usize, rule: &Rule, start: usize, end: usize) {
        let text = self.text;
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.- \t".contains(&byte);
        let blank = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'\'' | b'"');
        let operator = skip(text, skip(text, end, 20, name), 3, blank);
        let Some(byte) = text.get(operator) else { return };
        let said = text.get(start..end).unwrap_or_default();
        let inside =
            said.eq_ignore_ascii_case(b"api") && ![b"api", b"Api", b"API"].iter().any(|form| said == *form);
        if inside || !b"=>:|?,".contains(byte) || start < self.done(index) {
            return;
        }
        let rest = text.get(operator..).unwrap_or_default();
        let signs = ["=", ">", ":::=", "::=", ":=", "||", ":", "=>", "?=", ","];
        for sign in signs.iter().filter(|sign| rest.starts_with(sign.as_bytes())) {
            let from = operator + sign.len();
            let most = skip(text, from, 5, |byte| blank(byte) || matches!(byte, b'`' | b'='));
            for at in (from..=most).rev() {
                let part = text.get(at..text.len().min(at + NEAR_AHEAD)).unwrap_or_default();
                let Some(found) = rule.expression.get().find(part) else {
                    continue;
                };
                if found.end() == part.len() && at + part.len() < text.len() {
                    continue;
                }
                let inside = secret_of(rule, part, 0, found.end());
                let back = text.get(start.saturating_sub(50)..start).unwrap_or_default();
                let head = back
                    .iter()
                    .rev()
                    .take_while(|&&byte| name(byte) && !b" \t".contains(&byte));
                let candidate = Candidate {
                    start: start - head.count(),
                    end: at + inside.end,
                    secret: (at + inside.secret.0, at + inside.secret.1),
                };
                self.judge(index, rule, candidate);
                self.mark(index, candidate.secret.1);
                return;
            }
        }
    }

    fn judge(&mut self, index: usize, rule: &Rule, candidate: Candidate) {
        if accepts(rule, self.text, candidate, hashed)
            && let Some(&rank) = self.redactor.ranks.get(index)
        {
            let (start, end) = candidate.secret;
            self.keep(rank, &[(start, whole::token(self.text, end))]);
        }
    }
}

fn skip(text: &[u8], at: usize, most: usize, fits: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take(most).take_while(|&&byte| fits(byte)).count()
}

/// Where in a match the secret stands: its group, else the first group that took part, else all of it.
fn secret_of(rule: &Rule, part: &[u8], start: usize, end: usize) -> Candidate {
    let whole = Candidate {
        start,
        end,
        secret: (start, end),
    };
    let Some(found) = rule.expression.get().captures_at(part, start) else {
        return whole;
    };
    let group = match rule.group {
        Some(group) => found.get(group),
        None => found
            .name("s")
            .or_else(|| found.iter().skip(1).flatten().find(|group| !group.is_empty())),
    };
    group.map_or(whole, |group| Candidate {
        secret: (group.start(), group.end()),
        ..whole
    })
}
