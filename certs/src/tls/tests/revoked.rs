//! Members whose certificates were taken back, before a handshake and between two.

use rustls::AlertDescription::CertificateRevoked;
use tributary_common::identity::Role;

use super::{DAY, Stopped, assert_refused, client, identity, meet, now, server_config};
use crate::{Authority, RevocationFile};

/// What goes wrong without it: a stolen certificate is good until it expires, or until somebody restarts the coordinator.
#[test]
fn a_list_that_comes_while_serving_keeps_a_member_out_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(folder.path(), "north", now()).unwrap();
    let issue = |role, name: &str| authority.issue(&identity("north", role, name), DAY, now()).unwrap();
    let coordinator = issue(Role::Coordinator, "hub");
    let mut file = RevocationFile::open(&folder.path().join("revoked.crl"), coordinator.roots()).unwrap();
    let mut server = server_config(&coordinator, file.revocations()).unwrap();
    server.time_provider = std::sync::Arc::new(Stopped(now()));
    for role in [Role::Client, Role::Evaluator] {
        let name = format!("ward-{role}");
        let (stolen, other) = (issue(role, &name), issue(role, "other"));
        assert!(meet(server.clone(), client(&stolen)).succeeded());
        authority.revoke(&name.parse().unwrap(), now()).unwrap();
        assert!(meet(server.clone(), client(&stolen)).succeeded(), "nobody has looked at the list yet");
        assert!(file.look().unwrap());

        let meeting = meet(server.clone(), client(&stolen));
        assert!(!meeting.succeeded());
        let told = (CertificateRevoked, "Revoked");
        assert_refused("a revoked member", meeting.server_error, meeting.client_error, told);
        assert!(meet(server.clone(), client(&other)).succeeded());
        assert!(meet(server.clone(), client(&issue(role, &name))).succeeded(), "a new certificate of the same name");
    }
}
