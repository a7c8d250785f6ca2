//! `idx:DIR`: images as MNIST's authors publish them, gzipped or not.
//!
//! Format (Y. LeCun et al., "The MNIST database"): two zero bytes, the type (8 = unsigned byte), the number of dimensions,
//! each dimension as a big-endian u32, then the values.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tributary_common::model::Input;

use super::{Dataset, EXAMPLES_MAX, Error, FILE_BYTES_MAX, Features, Labels, Loaded, SourceRow};

pub(super) const ROW: SourceRow = SourceRow {
    name: "idx",
    argument: Some("DIR"),
    help: "a folder with MNIST's files train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-... for tests, .gz or not",
    check: |_| Ok(()),
    load: |place, input, group| load(&place.path(), input, group),
};

/// What an unsigned byte is called in the third byte.
const UNSIGNED_BYTE: u8 = 8;

/// The most dimensions: number, channels, height, width.
const DIMENSIONS_MAX: u8 = 4;

const HINT: &str = "copy or download the file again";

fn load(folder: &Path, input: &Input, _: Option<&str>) -> Result<Loaded, Error> {
    let train = pair(folder, "train", input)?.ok_or_else(|| Error::FileUnreadable {
        file: folder.join("train-images-idx3-ubyte"),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    Ok(Loaded { train, test: pair(folder, "t10k", input)? })
}

/// Images and labels that belong together; none if both are missing.
fn pair(folder: &Path, part: &str, input: &Input) -> Result<Option<Dataset>, Error> {
    let name = |what| format!("{part}-{what}-ubyte");
    let (images, labels) = (name("images-idx3"), name("labels-idx1"));
    let (image_file, label_file) = match (find(folder, &images), find(folder, &labels)) {
        (Some(images), Some(labels)) => (images, labels),
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(missing(folder.join(images))),
        (Some(_), None) => return Err(missing(folder.join(labels))),
    };
    let images = Idx::open(&image_file)?;
    let labels = Idx::open(&label_file)?;
    if labels.sizes.len() != 1 {
        return Err(broken(&label_file, format!("labels have 1 dimension, found {}", labels.sizes.len())));
    }
    if labels.sizes[0] != images.sizes[0] {
        let problem =
            format!("{} labels for {} images in `{}`", labels.sizes[0], images.sizes[0], image_file.display());
        return Err(broken(&label_file, problem));
    }
    let (pixels, labels) = (images.values()?, labels.values()?);
    if let Some(classes) = &input.classes
        && let Some(row) = labels.iter().position(|&label| usize::from(label) >= classes.count())
    {
        return Err(Error::RowBroken {
            file: label_file,
            place: format!("row {row} (counted from 0)"),
            problem: format!("the label is not below {}", classes.count()),
            hint: "set `input.classes` to the number of classes, or correct the label".to_owned(),
        });
    }
    let labels = Labels::Classes(labels.into_iter().map(u32::from).collect());
    let what = format!("`{}`", image_file.display());
    Dataset::new(&what, input, Features::Bytes(pixels), labels, Vec::new()).map(Some)
}

/// The file of this name, or the gzipped one.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

fn missing(file: PathBuf) -> Error {
    Error::FileUnreadable { file, source: std::io::ErrorKind::NotFound.into() }
}

fn broken(file: &Path, problem: String) -> Error {
    Error::FileBroken { file: file.to_owned(), problem, hint: HINT.to_owned() }
}

/// A file whose header was read and fits its limits.
struct Idx {
    file: PathBuf,
    sizes: Vec<usize>,
    bytes: u64,
    rest: Box<dyn Read>,
}

impl Idx {
    fn open(file: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::FileUnreadable { file: file.to_owned(), source };
        let raw = BufReader::new(File::open(file).map_err(unreadable)?);
        let gzipped = file.extension().is_some_and(|extension| extension == "gz");
        let mut rest: Box<dyn Read> = if gzipped { Box::new(MultiGzDecoder::new(raw)) } else { Box::new(raw) };
        let mut word = || {
            let mut word = [0; 4];
            match rest.read_exact(&mut word) {
                Ok(()) => Ok(word),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(broken(file, "it ends inside its header".to_owned()))
                }
                Err(error) => Err(unreadable(error)),
            }
        };
        let magic = word()?;
        let [0, 0, UNSIGNED_BYTE, dimensions @ 1..=DIMENSIONS_MAX] = magic else {
            let problem = format!("it begins with {magic:02x?}, an IDX file of bytes with [00, 00, 08, 01..=04]");
            return Err(broken(file, problem));
        };
        let sizes: Vec<usize> =
            (0..dimensions).map(|_| word().map(|word| u32::from_be_bytes(word) as usize)).collect::<Result<_, _>>()?;
        let bytes = sizes.iter().try_fold(1_u64, |all, &size| all.checked_mul(size as u64));
        let Some(bytes) = bytes.filter(|&bytes| bytes <= FILE_BYTES_MAX && sizes[0] <= EXAMPLES_MAX) else {
            return Err(Error::FileTooLarge { file: file.to_owned() });
        };
        Ok(Self { file: file.to_owned(), sizes, bytes, rest })
    }

    /// The values. Memory grows with what is really there, not with what the header says.
    fn values(self) -> Result<Vec<u8>, Error> {
        let mut values = Vec::new();
        match self.rest.take(self.bytes + 1).read_to_end(&mut values) {
            Ok(_) => {}
            // A gzip stream that was cut.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(source) => return Err(Error::FileUnreadable { file: self.file, source }),
        }
        let found = values.len() as u64;
        if found == self.bytes {
            return Ok(values);
        }
        let found = if found > self.bytes { "more".to_owned() } else { found.to_string() };
        let problem = format!("its header {:?} announces {} values, it holds {found}", self.sizes, self.bytes);
        Err(broken(&self.file, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::TestRows;
    use crate::data::source::tests::input;
    use std::io::Write;

    fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, u8::try_from(sizes.len()).unwrap()];
        sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn load_files(files: &[(&str, &[u8])]) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        load(folder.path(), &input("shape = [2, 2]\nclasses = 3"), None).map_err(|error| {
            assert!(error.hint().is_some());
            error.to_string()
        })
    }

    const IMAGES: &str = "train-images-idx3-ubyte";
    const LABELS: &str = "train-labels-idx1-ubyte";

    #[test]
    fn plain_and_gzipped_files_load_with_their_tests() {
        let images = idx(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]);
        let labels = idx(&[2], &[2, 0]);
        let loaded = load_files(&[
            (IMAGES, &images),
            ("train-labels-idx1-ubyte.gz", &gzip(&labels)),
            ("t10k-images-idx3-ubyte.gz", &gzip(&images)),
            ("t10k-labels-idx1-ubyte", &labels),
        ]);
        let (train, test) = loaded.unwrap().split(TestRows::Source).unwrap();
        assert_eq!(train.classes().unwrap(), [2, 0]);
        let mut out = [0.0; 4];
        test.unwrap().gather_f32(&[1], &mut out);
        assert_eq!(out.map(f32::to_bits), [4.0_f32, 5.0, 6.0, 7.0].map(f32::to_bits));
        assert!(load_files(&[(IMAGES, &images), (LABELS, &labels)]).unwrap().test.is_none());
    }

    #[test]
    fn broken_files_say_what_was_expected() {
        let images = idx(&[2, 2, 2], &[0; 8]);
        let labels = idx(&[2], &[2, 0]);
        let check = |images: &[u8], labels: &[u8], expected: &str| {
            let error = load_files(&[(IMAGES, images), (LABELS, labels)]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&[], &labels, "train-images-idx3-ubyte`: it ends inside its header");
        check(&images[..7], &labels, "it ends inside its header");
        check(&images[..20], &labels, "header [2, 2, 2] announces 8 values, it holds 4");
        check(&idx(&[2, 2, 2], &[0; 9]), &labels, "announces 8 values, it holds more");
        check(b"PK\x03\x04", &labels, "begins with [50, 4b, 03, 04]");
        check(&idx(&[2, 3, 2], &[0; 12]), &labels, "an example has 6 values");
        check(&idx(&[u32::MAX; 4], &[]), &labels, "more than 17179869184 bytes");
        check(&images, &idx(&[3], &[0; 3]), "3 labels for 2 images");
        check(&images, &idx(&[2, 1], &[0; 2]), "labels have 1 dimension, found 2");
        check(
            &images,
            &idx(&[2], &[0, 3]),
            "train-labels-idx1-ubyte`, row 1 (counted from 0): the label is not below 3",
        );
        check(&idx(&[0, 2, 2], &[]), &idx(&[0], &[]), "there are 0 examples");
        let error = load_files(&[(IMAGES, &images)]).unwrap_err();
        assert!(error.contains(LABELS), "{error}");
        assert!(load_files(&[]).unwrap_err().contains(IMAGES));
        let cut = gzip(&images);
        let error =
            load_files(&[("train-images-idx3-ubyte.gz", &cut[..cut.len() - 12]), (LABELS, &labels)]).unwrap_err();
        assert!(error.contains("announces 8 values") || error.contains("ends inside"), "{error}");
    }
}
