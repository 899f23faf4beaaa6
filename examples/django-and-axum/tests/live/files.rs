//! The same with `SESSION_ENGINE` on files: one session, whoever opens it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Place, on_two_databases};

on_two_databases!(sessions_in_files_are_shared_as_well);

async fn sessions_in_files_are_shared_as_well(place: &Place) {
    place.add_user("filed").await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let both = place.with_files_in(folder.path()).await;
    for (log_in, log_out) in [("/login/", "/rust/logout"), ("/rust/login", "/logout/")] {
        let visitor = both.browser();
        visitor.log_in(log_in, "filed").await;
        for (presses, path) in ["/count", "/rust/count", "/rust/count", "/count"]
            .iter()
            .enumerate()
        {
            visitor.post(path, &[]).await;
            let said = visitor.both().await;
            assert_eq!(
                said.user.as_deref(),
                Some("filed"),
                "{log_in} was for one side alone"
            );
            assert_eq!(said.things["count"], presses + 1, "{path} did not count on");
        }
        let thief = visitor.thief();
        visitor.post(log_out, &[]).await;
        assert_eq!(
            thief.both().await.user,
            None,
            "{log_out} left somebody logged in"
        );
        let left = std::fs::read_dir(folder.path()).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("sessionid")
        });
        assert_eq!(left.count(), 0, "{log_out} left the file");
    }
}
