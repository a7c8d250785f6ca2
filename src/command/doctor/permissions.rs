//! Who else can read an identity's key, or put another one in its place.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Finding;
use crate::arguments::quoted;

const CHECK: &str = "permissions";

pub(super) fn check(folder: &Path) -> Finding {
    let key = folder.join("key.pem");
    let mode = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    let shown = |path: &Path| quoted(&path.display().to_string());
    match (mode(&key), mode(folder)) {
        (Err(error), _) | (_, Err(error)) => Finding::fail(
            CHECK,
            format!("could not look at `{}`: {error}", key.display()),
            "give the folder of an identity with --identity",
        ),
        (Ok(mode), _) if mode & 0o077 != 0 => Finding::fail(
            CHECK,
            format!("others can use the private key `{}` (mode {mode:03o})", key.display()),
            format!("chmod 600 {}", shown(&key)),
        ),
        (_, Ok(mode)) if mode & 0o022 != 0 => Finding::warn(
            CHECK,
            format!("others can replace what is in `{}` (mode {mode:03o})", folder.display()),
            format!("chmod go-w {}", shown(folder)),
        ),
        (Ok(mode), Ok(_)) => Finding::ok(CHECK, format!("the private key has mode {mode:03o}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_fix_is_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, key) = (folder.path(), folder.path().join("key.pem"));
        assert_eq!(check(folder).verdict, Verdict::Fail);
        fs::write(&key, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        for (key_mode, folder_mode, verdict, fix) in [
            (0o600, 0o755, Verdict::Ok, None),
            (0o640, 0o755, Verdict::Fail, Some(format!("chmod 600 {}", key.display()))),
            (0o600, 0o775, Verdict::Warn, Some(format!("chmod go-w {}", folder.display()))),
        ] {
            set(&key, key_mode);
            set(folder, folder_mode);
            let finding = check(folder);
            assert_eq!((finding.verdict, finding.fix), (verdict, fix), "{}", finding.found);
        }
    }
}
