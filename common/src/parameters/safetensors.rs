//! Model files: safetensors, so that any machine-learning tool opens them.
//!
//! The header is bounded and checked against the file's size before anything is allocated for tensors.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use safetensors::tensor::{Metadata, TensorInfo};

use super::{AlignedBuffer, Dtype, Layout, LayoutError, Parameters};

/// The largest header that is read, in bytes.
pub const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Bytes before the header: its length.
const PREFIX_BYTES: u64 = 8;

/// A model file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("could not access model file `{file}`: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The header is longer than allowed or than the file.
    #[error(
        "could not read model file `{file}`: it is no whole safetensors file: its header would have {claimed} bytes, {allowed} are possible"
    )]
    HeaderLength {
        /// The file.
        file: String,
        /// What the first eight bytes say.
        claimed: u64,
        /// The smaller of the limit and what the file holds.
        allowed: u64,
    },
    /// The header is no safetensors header.
    #[error("could not read model file `{file}`: it is no safetensors file, or its header is broken: {why}")]
    HeaderBroken {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// The data part does not have the size that the header describes.
    #[error("could not read model file `{file}`: its tensors need {expected} bytes, the file holds {got}")]
    DataLength {
        /// The file.
        file: String,
        /// By the header.
        expected: u64,
        /// In the file.
        got: u64,
    },
    /// A tensor of a type that models do not have.
    #[error(
        "could not read model file `{file}`: tensor `{tensor}` has type {dtype}; f32, f64, f16 and bf16 are supported"
    )]
    UnsupportedDtype {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// The tensors are no layout.
    #[error("could not read model file `{file}`: {source}")]
    Layout {
        /// The file.
        file: String,
        /// Why.
        source: LayoutError,
    },
}

/// Reads a model file. Needs memory for the tensors once.
///
/// # Errors
/// See [`Error`].
pub fn read(path: &Path) -> Result<Parameters, Error> {
    let file = path.display().to_string();
    let io = |source| Error::Io { file: file.clone(), source };
    let mut reader = File::open(path).map_err(io)?;
    let size = reader.metadata().map_err(io)?.len();
    read_from(&mut reader, size, &file)
}

/// Reads a model of `size` bytes in all from `reader`; `file` is the name shown in errors.
///
/// # Errors
/// See [`Error`].
pub fn read_from(reader: &mut impl Read, size: u64, file: &str) -> Result<Parameters, Error> {
    let name = || file.to_owned();
    let io = |source| Error::Io { file: name(), source };
    let mut prefix = [0; 8];
    let allowed = HEADER_BYTES_MAX.min(size.saturating_sub(PREFIX_BYTES));
    if size < PREFIX_BYTES {
        return Err(Error::HeaderLength { file: name(), claimed: PREFIX_BYTES, allowed: size });
    }
    reader.read_exact(&mut prefix).map_err(io)?;
    let claimed = u64::from_le_bytes(prefix);
    if claimed > allowed {
        return Err(Error::HeaderLength { file: name(), claimed, allowed });
    }
    let mut header = vec![0; usize::try_from(claimed).expect("bounded by HEADER_BYTES_MAX")];
    reader.read_exact(&mut header).map_err(io)?;
    let broken = |why: String| Error::HeaderBroken { file: name(), why };
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
    let (layout, sources) = layout_of(&metadata, file)?;
    let got = size - PREFIX_BYTES - claimed;
    if layout.bytes() as u64 != got {
        return Err(Error::DataLength { file: name(), expected: layout.bytes() as u64, got });
    }
    let mut buffer = AlignedBuffer::zeroed(layout.bytes());
    if sources.is_empty() {
        reader.read_exact(buffer.as_mut()).map_err(io)?;
    } else {
        let mut data = vec![0; layout.bytes()];
        reader.read_exact(&mut data).map_err(io)?;
        for (tensor, start) in layout.tensors().iter().zip(sources) {
            let range = tensor.range();
            let source = start..start + range.len();
            buffer.as_mut()[range].copy_from_slice(&data[source]);
        }
    }
    Ok(Parameters::new(layout, buffer.into_bytes()).expect("the buffer was made for the layout"))
}

/// The layout that a header describes, and where each of its tensors begins in the data; nothing if that is our own order.
fn layout_of(metadata: &Metadata, file: &str) -> Result<(Arc<Layout>, Vec<usize>), Error> {
    let mut tensors = Vec::new();
    for (name, info) in metadata.tensors() {
        let dtype = Dtype::of_safetensors(info.dtype).ok_or_else(|| Error::UnsupportedDtype {
            file: file.to_owned(),
            tensor: name.clone(),
            dtype: format!("{:?}", info.dtype),
        })?;
        tensors.push((name, dtype, info.shape.clone()));
    }
    let layout = Layout::new(tensors).map_err(|source| Error::Layout { file: file.to_owned(), source })?;
    let broken = |why: &str| Error::HeaderBroken { file: file.to_owned(), why: why.to_owned() };
    let mut starts = Vec::new();
    for tensor in layout.tensors() {
        let info = metadata.info(&tensor.name).ok_or_else(|| broken("a tensor is not listed"))?;
        let (start, end) = info.data_offsets;
        if start.checked_add(tensor.range().len()) != Some(end) || end > layout.bytes() {
            return Err(broken("a tensor's offsets do not match its shape"));
        }
        starts.push(start);
    }
    let packed = layout.tensors().iter().zip(&starts).all(|(tensor, &start)| tensor.offset == start);
    Ok((layout, if packed { Vec::new() } else { starts }))
}

/// Writes `parameters` as a model file: header, then the buffer as it is.
///
/// # Errors
/// The operating system refused.
pub fn write_to(parameters: &Parameters, writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(&header(parameters.layout()))?;
    writer.write_all(parameters.bytes())
}

/// Length and header of a model file with this layout, padded with spaces so that the data begin at a multiple of 8.
#[must_use]
pub fn header(layout: &Layout) -> Vec<u8> {
    let tensors = layout.tensors().iter().map(|tensor| {
        let range = tensor.range();
        let info = TensorInfo {
            dtype: tensor.dtype.to_safetensors(),
            shape: tensor.shape.clone(),
            data_offsets: (range.start, range.end),
        };
        (tensor.name.clone(), info)
    });
    let metadata = Metadata::new(None, tensors.collect()).expect("a layout is contiguous and in order");
    let mut json = serde_json::to_vec(&metadata).expect("names, numbers and lists are JSON");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let layout = Layout::new([
            ("2.weight", Dtype::F32, vec![2, 3]),
            ("10.bias", Dtype::F32, vec![2]),
            ("a", Dtype::F64, vec![1]),
            ("h", Dtype::Bf16, vec![3]),
        ])
        .unwrap();
        let bytes: Vec<u8> = (0..layout.bytes()).map(|i| u8::try_from(i).unwrap()).collect();
        Parameters::new(layout, bytes.into()).unwrap()
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        write_to(&parameters(), &mut file).unwrap();
        file
    }

    fn read_bytes(bytes: &[u8]) -> Result<Parameters, Error> {
        read_from(&mut &*bytes, bytes.len() as u64, "m.safetensors")
    }

    #[test]
    fn file_reads_back_and_its_data_part_is_the_buffer() {
        let file = file();
        assert_eq!(read_bytes(&file).unwrap(), parameters());
        assert!(file.ends_with(parameters().bytes()));
    }

    #[test]
    fn file_is_what_the_safetensors_crate_writes_and_reads() {
        let own = parameters();
        let views = own.layout().tensors().iter().map(|tensor| {
            let dtype = tensor.dtype.to_safetensors();
            let view = safetensors::tensor::TensorView::new(dtype, tensor.shape.clone(), own.tensor(tensor)).unwrap();
            (tensor.name.clone(), view)
        });
        let theirs = safetensors::serialize(views, None).unwrap();
        assert!(theirs.ends_with(own.bytes()), "another packing order");
        assert_eq!(read_bytes(&theirs).unwrap(), own);
        assert_eq!(safetensors::SafeTensors::deserialize(&file()).unwrap().len(), 4);
    }

    #[test]
    fn truncated_oversized_and_lying_headers_are_refused() {
        let file = file();
        let table = read_bytes(b"x,label\n1,0\n").unwrap_err().to_string();
        assert!(table.contains("it is no whole safetensors file"), "{table}");
        assert!(matches!(read_bytes(&file[..5]), Err(Error::HeaderLength { .. })));
        assert!(matches!(read_bytes(&file[..50]), Err(Error::HeaderLength { .. })));
        assert!(matches!(read_bytes(&file[..file.len() - 1]), Err(Error::DataLength { .. })));
        let mut oversized = file.clone();
        oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(read_bytes(&oversized), Err(Error::HeaderLength { .. })));
        let mut broken = file.clone();
        broken[8] = b'x';
        assert!(matches!(read_bytes(&broken), Err(Error::HeaderBroken { .. })));
        let text = br#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}"#;
        let mut lying = (text.len() as u64).to_le_bytes().to_vec();
        lying.extend(text);
        lying.extend([0; 4]);
        assert!(read_bytes(&lying).is_err());
        let text = br#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
        let mut integers = (text.len() as u64).to_le_bytes().to_vec();
        integers.extend(text);
        integers.extend([0; 8]);
        assert!(matches!(read_bytes(&integers), Err(Error::UnsupportedDtype { .. })));
    }
}
