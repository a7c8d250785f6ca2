//! Why updates were refused, counted by kind: reasons without the numbers and names in them.

use std::collections::{BTreeMap, BTreeSet};

use tributary_common::event::Slot;
use tributary_common::id::ClientId;

/// Kinds that are told apart; reasons are a peer's words in part, and the page stays short whatever it says.
const KINDS_MAX: usize = 32;

/// What the others are called.
const OTHERS: &str = "other reasons";

/// The updates of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refused {
    /// How many.
    pub(crate) updates: u64,
    /// Whose.
    pub(crate) clients: BTreeSet<ClientId>,
}

/// Refused updates by kind of reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refusals(BTreeMap<String, Refused>);

impl Refusals {
    /// Counts a slot, if its update was refused.
    pub(crate) fn add(&mut self, slot: &Slot) {
        if slot.fate != "refused" {
            return;
        }
        let mut kind = kind(slot.reason.as_deref().unwrap_or_default());
        if self.0.len() >= KINDS_MAX && !self.0.contains_key(&kind) {
            kind = OTHERS.to_owned();
        }
        let refused = self.0.entry(kind).or_default();
        refused.updates += 1;
        refused.clients.insert(slot.client.clone());
    }

    /// The most frequent kind first.
    pub(crate) fn by_frequency(&self) -> Vec<(&str, &Refused)> {
        let mut kinds: Vec<_> = self.0.iter().map(|(kind, refused)| (kind.as_str(), refused)).collect();
        kinds.sort_by(|a, b| b.1.updates.cmp(&a.1.updates).then(a.0.cmp(b.0)));
        kinds
    }
}

/// The fewest characters by which a word of hexadecimal digits is a digest.
const DIGEST_CHARACTERS: usize = 8;

/// A reason with an ellipsis for every name in backticks, every word that begins like a number, and every digest.
fn kind(reason: &str) -> String {
    if reason.is_empty() {
        return OTHERS.to_owned();
    }
    let unnamed: Vec<&str> =
        reason.split('`').enumerate().map(|(index, part)| if index % 2 == 1 { "…" } else { part }).collect();
    let unnamed = unnamed.concat();
    let words = unnamed.split_whitespace().map(|word| {
        let end = if word.ends_with([',', ':', ';']) { &word[word.len() - 1..] } else { "" };
        let bare = word.trim_matches(['±', '-', '+', '(', ')', ',', ':', ';']);
        let is_digest = bare.len() >= DIGEST_CHARACTERS && bare.chars().all(|c| c.is_ascii_hexdigit());
        let is_number = bare.starts_with(|c: char| c.is_ascii_digit());
        if is_digest || is_number { format!("…{end}") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use tributary_common::id::Round;

    use super::*;

    fn slot(client: &str, fate: &str, reason: &str) -> Slot {
        Slot {
            round: Round(1),
            attempt: 0,
            client: client.parse().unwrap(),
            fate: fate.to_owned(),
            reason: Some(reason.to_owned()),
            weight: 0,
            seconds: 0.0,
            bytes_up: 0,
            same_as: None,
        }
    }

    #[test]
    fn the_same_flaw_is_one_kind_wherever_and_however_large_it_is() {
        let mut refusals = Refusals::default();
        for (client, reason) in [
            ("a", "tensor `0.bias`: coordinate 1 is not finite"),
            ("b", "tensor `0.weight`: coordinate 77 is not finite"),
            ("b", "tensor `0.weight`: coordinate 5 is -1e12, beyond ±1000"),
            ("b", "tensor `0.bias`: coordinate 5 is not finite"),
            ("b", "its digest is 3f00aa99, beefcafe was announced"),
        ] {
            refusals.add(&slot(client, "refused", reason));
        }
        refusals.add(&slot("c", "lost", "no update before the deadline"));
        let told: Vec<_> =
            refusals.by_frequency().iter().map(|(kind, one)| (*kind, one.updates, one.clients.len())).collect();
        let (finite, beyond) = ("tensor …: coordinate … is not finite", "tensor …: coordinate … is …, beyond …");
        let digest = "its digest is …, … was announced";
        assert_eq!(told, [(finite, 3, 2), (digest, 1, 1), (beyond, 1, 1)]);
    }

    #[test]
    fn however_many_reasons_there_are_the_page_stays_short() {
        let mut refusals = Refusals::default();
        (0..100).for_each(|index| refusals.add(&slot("a", "refused", &"x".repeat(1 + index))));
        let kinds = refusals.by_frequency();
        assert_eq!(kinds.len(), KINDS_MAX + 1);
        assert_eq!((kinds[0].0, kinds[0].1.updates), (OTHERS, 100 - KINDS_MAX as u64));
    }
}
