//! A federation that changes its root: at every step of it everybody is let in by everybody.

use rustls::AlertDescription::UnknownCA;
use tributary_common::identity::Role;

use super::{DAY, assert_refused, client, identity, meet, now, server};
use crate::{Authority, Credentials};

/// A member of one authority that trusts the roots of several.
fn member(of: &Authority, role: Role, trusted: &[&Authority]) -> Credentials {
    let issued = of.issue(&identity("north", role, "a"), DAY, now()).unwrap();
    let roots: String = trusted.iter().map(|authority| authority.root_pem()).collect();
    Credentials::from_pem(issued.chain_pem(), issued.key_pem(), &roots).unwrap()
}

#[test]
fn a_root_is_changed_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| Authority::create(&folder.path().join(name), "north", now()).unwrap();
    let (old, new, third) = (create("old"), create("new"), create("third"));
    // Who has issued, and whom it trusts, step by step; a member of one step meets those of its own and of the next.
    let steps: [(&Authority, &[&Authority]); 4] =
        [(&old, &[&old]), (&old, &[&old, &new]), (&new, &[&old, &new]), (&new, &[&new])];
    let at = |step: usize, role| member(steps[step].0, role, steps[step].1);
    for step in 0..steps.len() {
        for next in step..steps.len().min(step + 2) {
            for (hub, ward) in [(step, next), (next, step)] {
                let meeting = meet(server(&at(hub, Role::Coordinator)), client(&at(ward, Role::Client)));
                assert!(meeting.succeeded(), "coordinator of step {hub}, client of step {ward}");
            }
        }
    }
    // From the first step to the last there is a gap, and a bundle of two trusts no third.
    let meeting = meet(server(&at(3, Role::Coordinator)), client(&member(&old, Role::Client, &[&old, &new])));
    assert_refused("the old root is gone", meeting.server_error, meeting.client_error, (UnknownCA, "UnknownIssuer"));
    let stranger = member(&third, Role::Client, &[&old, &new]);
    assert!(!meet(server(&at(1, Role::Coordinator)), client(&stranger)).succeeded());
    let issued = old.issue(&identity("north", Role::Client, "a"), DAY, now()).unwrap();
    let three = [&old, &new, &third].map(Authority::root_pem).concat();
    let error = Credentials::from_pem(issued.chain_pem(), issued.key_pem(), &three).unwrap_err();
    assert!(error.to_string().contains("at most 2 roots"), "{error}");
}
