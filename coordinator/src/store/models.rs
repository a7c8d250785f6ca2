//! The last versions of a run, as files named by their digests: a row that commits a version names what is here already.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tributary_common::Digest;
use tributary_common::id::Version;
use tributary_common::parameters::{Parameters, safetensors};

use super::{Durability, Error, disk, io};

const FOLDER: &str = "models";

/// Holds the digest of the best version's model, so that another process keeps it too.
const BEST: &str = "best";

/// One version on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The version.
    pub version: Version,
    /// Its digest.
    pub model: Digest,
    /// Digest of the server optimiser's state after it.
    pub optimizer: Digest,
}

/// The versions of one run.
#[derive(Debug)]
pub(super) struct Models {
    folder: PathBuf,
    durability: Durability,
    /// How many committed versions stay.
    keep: usize,
    /// Oldest first.
    kept: Vec<Kept>,
    /// What the row of the last version says: those from here on stay until the next version's row is there.
    from: Version,
    /// The best version's model.
    best: Option<Digest>,
}

impl Models {
    /// The versions below the run's folder: `current` are those that the run stands on, of which those from `from` on stay,
    /// `all` those that its journal names.
    pub(super) fn open(
        run: &Path,
        durability: Durability,
        keep: usize,
        current: &[Kept],
        from: Version,
        all: &[Kept],
    ) -> Result<Self, Error> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(io(&folder))?;
        let best = best(run);
        for entry in fs::read_dir(&folder).map_err(io(&folder))? {
            let path = entry.map_err(io(&folder))?.path();
            let is_named = |kept: &Kept| {
                path == model_path(&folder, kept.model) || path == optimizer_path(&folder, kept.optimizer)
            };
            // What a process kept and did not live to commit is made again.
            if path != folder.join(BEST) && !all.iter().any(is_named) {
                disk::remove(&path)?;
            }
        }
        let kept = current.iter().filter(|kept| model_path(&folder, kept.model).is_file()).copied().collect();
        Ok(Self { folder, durability, keep, kept, from, best })
    }

    /// Keeps a version, and lets go of those that are old enough. All versions before it are committed by now.
    pub(super) fn keep(&mut self, version: Version, model: &Parameters, optimizer: &[u8]) -> Result<Kept, Error> {
        let kept = Kept { version, model: model.digest(), optimizer: Digest::of(optimizer) };
        if !optimizer.is_empty() {
            let path = optimizer_path(&self.folder, kept.optimizer);
            disk::replace(&path, self.durability, |file| file.write_all(optimizer))?;
        }
        let path = model_path(&self.folder, kept.model);
        disk::replace(&path, self.durability, |file| {
            safetensors::write_to(model, file)?;
            // It gets further names for people, under which it must not be written over.
            let mut permissions = file.get_ref().metadata()?.permissions();
            permissions.set_readonly(true);
            file.get_ref().set_permissions(permissions)
        })?;
        self.durability.settle_names(&self.folder)?;
        // What the file of this number held before, a rollback or a crash has forgotten.
        self.kept.retain(|old| old.version < version);
        self.kept.push(kept);
        self.let_go()?;
        self.from = self.kept[self.kept.len().saturating_sub(self.keep)].version;
        Ok(kept)
    }

    /// The oldest version that stays, the best one aside, until the next is kept and its row is there.
    pub(super) const fn kept_from(&self) -> Version {
        self.from
    }

    fn let_go(&mut self) -> Result<(), Error> {
        let stays = |kept: &Kept| kept.version >= self.from || Some(kept.model) == self.best;
        let (stay, gone): (Vec<Kept>, Vec<Kept>) = self.kept.iter().partition(|kept| stays(kept));
        for kept in gone {
            if !stay.iter().any(|other| other.model == kept.model) {
                disk::remove(&model_path(&self.folder, kept.model))?;
            }
            if !stay.iter().any(|other| other.optimizer == kept.optimizer) {
                disk::remove(&optimizer_path(&self.folder, kept.optimizer))?;
            }
        }
        self.kept = stay;
        Ok(())
    }

    /// A version, if it is kept and is not marked as the best already.
    pub(super) fn better(&self, version: Version) -> Option<Kept> {
        self.kept.iter().find(|kept| kept.version == version && Some(kept.model) != self.best).copied()
    }

    /// Marks a version as the best; the one before it is let go in its turn.
    pub(super) fn mark_best(&mut self, kept: Kept) -> Result<(), Error> {
        self.best = Some(kept.model);
        let text = format!("{}\n", kept.model);
        disk::replace(&self.folder.join(BEST), self.durability, |file| file.write_all(text.as_bytes()))
    }
}

/// The digest of the best version's model, if one is marked.
pub(super) fn best(run: &Path) -> Option<Digest> {
    fs::read_to_string(run.join(FOLDER).join(BEST)).ok()?.trim().parse().ok()
}

/// Forgets which version was the best, unless it is one of those that stay; returns whether it did.
pub(super) fn forget_best(run: &Path, stays: &[Kept]) -> Result<bool, Error> {
    let is_gone = best(run).is_some_and(|best| stays.iter().all(|kept| kept.model != best));
    if is_gone {
        disk::remove(&run.join(FOLDER).join(BEST))?;
    }
    Ok(is_gone)
}

/// The file of a version's model.
pub(super) fn file(run: &Path, kept: Kept) -> PathBuf {
    model_path(&run.join(FOLDER), kept.model)
}

/// A version with its server optimiser's state, read and checked.
pub(super) fn read(run: &Path, kept: Kept) -> Result<(Parameters, Vec<u8>), Error> {
    let folder = run.join(FOLDER);
    let path = model_path(&folder, kept.model);
    let broken = |path: &Path, why: String| Error::Broken { path: path.to_owned(), why };
    let compare = |path: &Path, found: Digest, expected: Digest| {
        if found == expected {
            return Ok(());
        }
        let why = format!("its digest is {}, the journal says {}", found.short(), expected.short());
        Err(broken(path, why))
    };
    let model = safetensors::read(&path).map_err(|error| broken(&path, error.to_string()))?;
    compare(&path, model.digest(), kept.model)?;
    // No state is no file.
    if kept.optimizer == Digest::of(&[]) {
        return Ok((model, Vec::new()));
    }
    let path = optimizer_path(&folder, kept.optimizer);
    let optimizer = fs::read(&path).map_err(|error| broken(&path, error.to_string()))?;
    compare(&path, Digest::of(&optimizer), kept.optimizer)?;
    Ok((model, optimizer))
}

fn model_path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.safetensors"))
}

fn optimizer_path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.optimizer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tributary_common::parameters::{Dtype, Layout};

    fn model(value: f32) -> Parameters {
        let layout = Layout::new([("w", Dtype::F32, vec![4])]).unwrap();
        Parameters::new(layout, Bytes::from([value.to_le_bytes(); 4].concat())).unwrap()
    }

    fn keep(models: &mut Models, version: u64, value: f32, optimizer: &[u8]) -> Kept {
        models.keep(Version(version), &model(value), optimizer).unwrap()
    }

    fn n_files(run: &Path) -> usize {
        fs::read_dir(run.join(FOLDER)).unwrap().count()
    }

    /// What goes wrong without it: a run of many rounds fills the disk, or the best version is gone when it is wanted.
    #[test]
    fn old_versions_go_and_the_best_stays() {
        let run = tempfile::tempdir().unwrap();
        let mut models = Models::open(run.path(), Durability::Power, 2, &[], Version(0), &[]).unwrap();
        let first = keep(&mut models, 1, 1.0, &[1]);
        assert_eq!(models.better(Version(1)), Some(first));
        models.mark_best(first).unwrap();
        assert_eq!(models.better(Version(1)), None, "it is the best already");
        let all: Vec<Kept> = (2..8_u8).map(|n| keep(&mut models, n.into(), n.into(), &[n])).collect();
        assert_eq!(models.kept, [&[first], &all[3..]].concat());
        assert_eq!(n_files(run.path()), 2 * 4 + 1, "two committed, the one under way, the best, and its name");
        assert_eq!(read(run.path(), first).unwrap(), (model(1.0), vec![1]));
        // Another process goes on with the same.
        let (from, kept) = (models.kept_from(), models.kept);
        assert_eq!(from, Version(6));
        let mut models = Models::open(run.path(), Durability::Power, 2, &kept, from, &kept).unwrap();
        assert_eq!(models.better(Version(2)), None, "it is not kept");
        // There is a later one already when the measures of this one come.
        models.mark_best(models.better(Version(6)).unwrap()).unwrap();
        (8..12_u8).for_each(|n| _ = keep(&mut models, n.into(), n.into(), &[n]));
        assert!(read(run.path(), first).is_err(), "version 6 is the best now");
        assert_eq!(read(run.path(), all[4]).unwrap(), (model(6.0), vec![6]));
    }

    #[test]
    fn a_version_that_equals_another_does_not_take_its_file_along() {
        let run = tempfile::tempdir().unwrap();
        let mut models = Models::open(run.path(), Durability::Process, 1, &[], Version(0), &[]).unwrap();
        for version in 1..5 {
            keep(&mut models, version, 0.5, &[]);
        }
        let last = models.kept[1];
        assert_eq!(read(run.path(), last).unwrap(), (model(0.5), Vec::new()));
        assert_eq!(n_files(run.path()), 1);
    }

    #[test]
    fn damaged_files_are_named() {
        let run = tempfile::tempdir().unwrap();
        let mut models = Models::open(run.path(), Durability::Power, 2, &[], Version(0), &[]).unwrap();
        let kept = keep(&mut models, 1, 1.0, &[1, 2]);
        let folder = run.path().join(FOLDER);
        fs::write(optimizer_path(&folder, kept.optimizer), [9]).unwrap();
        let error = read(run.path(), kept).unwrap_err();
        assert!(error.to_string().contains(".optimizer") && error.to_string().contains("the journal says"), "{error}");
        disk::replace(&model_path(&folder, kept.model), Durability::Process, |file| {
            safetensors::write_to(&model(2.0), file)
        })
        .unwrap();
        let error = read(run.path(), kept).unwrap_err();
        assert!(error.to_string().contains(".safetensors`: its digest is"), "{error}");
    }
}
