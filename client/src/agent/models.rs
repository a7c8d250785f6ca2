//! Models on this side: the one that came last, and what came of one that did not come whole. Neither is fetched again.
//!
//! Both are in memory as long as the process lives. With a folder they are on disk too, and the next process goes on with
//! them. What is on that disk is believed only after its digest was compared, as what comes from the network.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tributary_common::Digest;
use tributary_common::parameters::{Layout, Parameters, Pool, Pooled};

/// Models that are kept in a folder at once: the one at work, and the one that comes.
pub const MODELS_MAX: usize = 2;

/// Where two models together are no larger, in bytes, they take turns in the same memory; that of larger ones goes back to the
/// system, for whoever trains.
const POOL_BYTES_MAX: usize = 64 << 20;

const EXTENSION: &str = "model";

/// The models of one client.
#[derive(Debug, Default)]
pub(super) struct Models {
    folder: Option<PathBuf>,
    pool: Pool,
    whole: Option<(Digest, Parameters)>,
    partial: Option<Partial>,
}

/// What is here of a model.
#[derive(Debug)]
pub(super) enum Kept {
    /// All of it, and its digest was compared.
    Whole(Parameters),
    /// Some of it, or nothing yet.
    Partial(Partial),
}

impl Models {
    /// No models yet; with a folder, those that are in it.
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, ..Self::default() }
    }

    /// What is here of the model with this digest. A partial one is lent: it comes back by [`Models::keep`].
    pub(super) fn of(&mut self, digest: Digest, layout: &Arc<Layout>) -> Kept {
        if let Some((_, model)) = self.whole.as_ref().filter(|(kept, _)| *kept == digest) {
            return Kept::Whole(model.clone());
        }
        let known = self.partial.take().filter(|partial| partial.digest == digest && partial.layout == *layout);
        let (folder, pool) = (&self.folder, &self.pool);
        Kept::Partial(known.unwrap_or_else(|| Partial::new(digest, layout, folder.clone(), pool.clone())))
    }

    /// Keeps what a transfer that broke off has brought.
    pub(super) fn keep(&mut self, partial: Partial) {
        self.partial = Some(partial);
    }

    /// Keeps the model that is at work now, in the place of the one before it.
    pub(super) fn came(&mut self, digest: Digest, model: &Parameters) {
        self.whole = Some((digest, model.clone()));
    }
}

/// A model on its way.
#[derive(Debug)]
pub(super) struct Partial {
    digest: Digest,
    layout: Arc<Layout>,
    /// Made when the first byte comes.
    buffer: Option<Pooled>,
    /// Bytes that are here and hashed.
    at: usize,
    hasher: Box<blake3::Hasher>,
    pool: Pool,
    folder: Option<PathBuf>,
    file: Option<File>,
}

impl Partial {
    fn new(digest: Digest, layout: &Arc<Layout>, folder: Option<PathBuf>, pool: Pool) -> Self {
        let (layout, hasher) = (Arc::clone(layout), Box::new(layout.hasher()));
        Self { digest, layout, buffer: None, at: 0, hasher, pool, folder, file: None }
    }

    /// Bytes that are here; the first call takes what an earlier process left. It reads from the disk.
    pub(super) fn held(&mut self) -> usize {
        if self.buffer.is_none() {
            self.buffer = Some(self.pool.take_or_new(self.layout.bytes(), POOL_BYTES_MAX));
            if let Err(error) = self.take_up() {
                tracing::warn!(%error, "no models can be kept on disk; this one is kept in memory alone");
                self.file = None;
            }
        }
        self.at
    }

    /// Opens the model's file, and takes what is in it.
    fn take_up(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        fs::create_dir_all(folder)?;
        make_room(folder, self.digest)?;
        let path = path(folder, self.digest);
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).append(true).open(path)?;
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if len > self.layout.bytes() {
            file.set_len(0)?;
        } else {
            let buffer = self.buffer.as_mut().expect("made before");
            let held = &mut buffer.as_mut()[..len];
            file.read_exact(held)?;
            self.hasher.update(held);
            self.at = len;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Where what comes belongs: the buffer, how much of it is here, and what is to be told of every block in order.
    pub(super) fn room(&mut self) -> (&mut [u8], &mut usize, impl FnMut(&[u8])) {
        self.held();
        let Self { buffer, at, hasher, file, .. } = self;
        let buffer = buffer.as_mut().expect("made by `held`");
        let look = move |block: &[u8]| {
            hasher.update(block);
            // The disk is there to spare the network: when it is full, the model comes all the same.
            if file.as_mut().is_some_and(|file| file.write_all(block).is_err()) {
                *file = None;
            }
        };
        (buffer.as_mut(), at, look)
    }

    /// The model, if its bytes are all here and are those of the digest.
    ///
    /// # Errors
    /// The digest of what is here. Nothing of it is kept: neither here nor on disk.
    pub(super) fn finish(mut self) -> Result<Parameters, Digest> {
        self.held();
        let got: Digest = self.hasher.finalize().into();
        if got != self.digest {
            if let Some(folder) = &self.folder {
                drop(fs::remove_file(path(folder, self.digest)));
            }
            return Err(got);
        }
        let bytes = self.buffer.take().expect("made by `held`").into_bytes();
        Ok(Parameters::new(self.layout, bytes).expect("the buffer was made for the layout"))
    }

    /// The same model, of which nothing is here.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.digest, &self.layout, self.folder.clone(), self.pool.clone())
    }
}

fn path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(format!("{digest}.{EXTENSION}"))
}

/// Removes the oldest models, so that with the one of `digest` there are no more than allowed.
fn make_room(folder: &Path, digest: Digest) -> io::Result<()> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_model = entry.path().extension().is_some_and(|extension| extension == EXTENSION);
        if is_model && entry.path() != path(folder, digest) {
            others.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    others.sort_unstable();
    let n_gone = (others.len() + 1).saturating_sub(MODELS_MAX);
    others[..n_gone].iter().try_for_each(|(_, old)| fs::remove_file(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tributary_common::parameters::Dtype;

    fn model(value: f32) -> Parameters {
        let layout = Layout::new([("w", Dtype::F32, vec![100])]).unwrap();
        Parameters::new(layout, value.to_le_bytes().repeat(100).into()).unwrap()
    }

    fn partial(models: &mut Models, of: &Parameters) -> Partial {
        match models.of(of.digest(), of.layout()) {
            Kept::Partial(partial) => partial,
            Kept::Whole(_) => panic!("it is here already"),
        }
    }

    /// Takes the bytes of `of` up to `end`, as a transfer does.
    fn fill(partial: &mut Partial, of: &Parameters, end: usize) {
        let (buffer, at, mut look) = partial.room();
        buffer[*at..end].copy_from_slice(&of.bytes()[*at..end]);
        look(&of.bytes()[*at..end]);
        *at = end;
    }

    #[test]
    fn a_model_goes_on_where_it_broke_off_and_is_not_fetched_twice() {
        let (model, mut models) = (model(1.0), Models::new(None));
        let mut first = partial(&mut models, &model);
        assert_eq!(first.held(), 0);
        fill(&mut first, &model, 150);
        models.keep(first);
        let mut second = partial(&mut models, &model);
        assert_eq!(second.held(), 150);
        fill(&mut second, &model, 400);
        let whole = second.finish().unwrap();
        assert_eq!(whole, model);
        models.came(model.digest(), &whole);
        assert!(matches!(models.of(model.digest(), model.layout()), Kept::Whole(kept) if kept == model));
        assert_eq!(partial(&mut models, &self::model(2.0)).held(), 0, "another model is another");
    }

    #[test]
    fn models_take_turns_in_two_buffers() {
        let mut models = Models::new(None);
        let mut places = Vec::new();
        for value in 0..5_u8 {
            let model = model(value.into());
            let mut one = partial(&mut models, &model);
            fill(&mut one, &model, 400);
            let whole = one.finish().unwrap();
            assert_eq!(whole, model);
            models.came(model.digest(), &whole);
            places.push(whole.bytes().as_ptr());
        }
        assert_eq!((places[0], places[1]), (places[2], places[3]));
    }

    #[test]
    fn another_process_goes_on_with_the_file() {
        let (model, folder) = (model(1.0), tempfile::tempdir().unwrap());
        let models = || Models::new(Some(folder.path().join("made")));
        let mut first = partial(&mut models(), &model);
        fill(&mut first, &model, 150);
        drop(first);
        let mut second = partial(&mut models(), &model);
        assert_eq!(second.held(), 150);
        fill(&mut second, &model, 400);
        assert_eq!(second.finish().unwrap(), model);
        let mut third = partial(&mut models(), &model);
        assert_eq!(third.held(), 400, "all of it is here");
        assert_eq!(third.finish().unwrap(), model);
    }

    /// What goes wrong without it: a client trains from a model that a worn disk has changed, or never gets a good one.
    #[test]
    fn a_file_that_is_wrong_or_too_long_is_given_up() {
        let (model, folder) = (model(1.0), tempfile::tempdir().unwrap());
        let file = path(folder.path(), model.digest());
        fs::write(&file, [7; 400]).unwrap();
        let mut wrong = partial(&mut Models::new(Some(folder.path().to_owned())), &model);
        let anew = wrong.anew();
        assert_eq!(wrong.held(), 400);
        assert!(wrong.finish().is_err());
        assert!(!file.exists());
        for mut fresh in [anew, partial(&mut Models::new(Some(folder.path().to_owned())), &model)] {
            fs::write(&file, [7; 401]).unwrap();
            assert_eq!(fresh.held(), 0);
        }
    }

    #[test]
    fn no_more_models_are_kept_on_disk_than_allowed() {
        let folder = tempfile::tempdir().unwrap();
        for value in 0..5_u8 {
            let model = model(value.into());
            let mut one = partial(&mut Models::new(Some(folder.path().to_owned())), &model);
            fill(&mut one, &model, 400);
            assert_eq!(one.finish().unwrap(), model);
            assert!(fs::read_dir(folder.path()).unwrap().count() <= MODELS_MAX);
            assert!(path(folder.path(), model.digest()).is_file());
        }
    }
}
