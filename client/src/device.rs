//! Where training happens: this machine's cores, or one of NVIDIA's processors (feature `cuda`).
//!
//! On the cores models train by the kernels directly; elsewhere by candle's automatic gradients over tensors that live on
//! the device. Results differ in their last bits from device to device, as they do between kinds of CPU.

use std::fmt;
use std::str::FromStr;

use tributary_common::registry::closest;

/// The largest number a CUDA device may have: what no machine comes near.
pub const ORDINAL_MAX: usize = 1023;

/// Which device is asked for, as typed in `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first CUDA device, or the cores where there is none.
    #[default]
    Auto,
    /// The cores.
    Cpu,
    /// A CUDA device by its number, 0 to [`ORDINAL_MAX`].
    Cuda(usize),
}

/// Why there is no such device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This program was built without CUDA.
    #[error("could not use device `cuda:{ordinal}`: this program was built without CUDA")]
    NotBuilt {
        /// The number asked for.
        ordinal: usize,
    },
    /// CUDA finds no driver that works.
    #[error("could not use device `cuda:{ordinal}`: NVIDIA's driver does not answer: {found}")]
    NoDriver {
        /// The number asked for.
        ordinal: usize,
        /// What the library said.
        found: String,
    },
    /// There are fewer devices.
    #[error("could not use device `cuda:{ordinal}`: this machine has {count} CUDA devices")]
    NoSuchDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The device is there and cannot be used.
    #[error("could not use device `cuda:{ordinal}`: {found}")]
    Unusable {
        /// The number asked for.
        ordinal: usize,
        /// What the library said.
        found: String,
    },
    /// No device is called so.
    #[error("there is no device `{typed}`; {possible}")]
    Unknown {
        /// What was typed.
        typed: String,
        /// What is near, and what can be typed.
        possible: String,
    },
}

impl Error {
    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotBuilt { .. } => {
                "write --device cpu, or build with --features cuda (README.md tells what that needs)".to_owned()
            }
            Self::NoDriver { .. } => {
                "see what nvidia-smi says, install or update NVIDIA's driver, or write --device cpu".to_owned()
            }
            Self::NoSuchDevice { count: 0, .. } => "write --device cpu".to_owned(),
            Self::NoSuchDevice { count, .. } => format!("write --device cuda:0 to cuda:{}, or cpu", count - 1),
            Self::Unusable { .. } => "see what nvidia-smi says, or write --device cpu".to_owned(),
            Self::Unknown { .. } => return None,
        })
    }
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = |possible: String| Error::Unknown { typed: text.to_owned(), possible };
        if let Some(ordinal) = text.strip_prefix("cuda:") {
            let ordinal = ordinal.parse().ok().filter(|ordinal| *ordinal <= ORDINAL_MAX);
            let possible = || unknown(format!("after `cuda:` comes a number from 0 to {ORDINAL_MAX}"));
            return ordinal.map(Self::Cuda).ok_or_else(possible);
        }
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => {
                let near = closest(text, &["auto", "cpu", "cuda:0"]);
                let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                Err(unknown(format!("{near}possible: `auto`, `cpu`, `cuda:0`, `cuda:1`, …")))
            }
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl Choice {
    /// Makes the device ready; a few hundred milliseconds for a CUDA device, nothing for the cores.
    ///
    /// # Errors
    /// A CUDA device was asked for by its number and cannot be used.
    pub fn open(self) -> Result<Device, Error> {
        match self {
            Self::Cpu => Ok(Device::cpu()),
            Self::Cuda(ordinal) => cuda(ordinal),
            Self::Auto => Ok(cuda(0).unwrap_or_else(|error| Device { passed_over: Some(error), ..Device::cpu() })),
        }
    }
}

/// A device that is ready to train. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Device {
    name: String,
    /// Why `auto` did not take a CUDA device.
    passed_over: Option<Error>,
    #[cfg(feature = "candle")]
    tensors: candle_core::Device,
}

impl Device {
    /// This machine's cores.
    #[must_use]
    pub fn cpu() -> Self {
        Self {
            name: "cpu".to_owned(),
            passed_over: None,
            #[cfg(feature = "candle")]
            tensors: candle_core::Device::Cpu,
        }
    }

    /// `cpu`, or as in `cuda:0 (NVIDIA H100 80GB HBM3)`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why `auto` took the cores although this program could use CUDA.
    #[must_use]
    pub fn passed_over(&self) -> Option<&Error> {
        self.passed_over.as_ref().filter(|error| !matches!(error, Error::NotBuilt { .. }))
    }

    /// Whether it is this machine's cores.
    #[must_use]
    pub const fn is_cpu(&self) -> bool {
        #[cfg(feature = "candle")]
        return matches!(self.tensors, candle_core::Device::Cpu);
        #[cfg(not(feature = "candle"))]
        return true;
    }

    /// Bytes of its memory that nobody has; not known of the cores.
    #[cfg(feature = "candle")]
    #[must_use]
    #[cfg_attr(not(feature = "cuda"), expect(clippy::unused_self, reason = "without CUDA there is nothing to ask"))]
    pub(crate) fn free_bytes(&self) -> Option<usize> {
        #[cfg(feature = "cuda")]
        if let candle_core::Device::Cuda(cuda) = &self.tensors {
            return cuda.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free);
        }
        None
    }

    /// Where tensors live.
    #[cfg(feature = "candle")]
    pub(crate) const fn tensors(&self) -> &candle_core::Device {
        &self.tensors
    }
}

#[cfg(not(feature = "cuda"))]
const fn cuda(ordinal: usize) -> Result<Device, Error> {
    Err(Error::NotBuilt { ordinal })
}

#[cfg(feature = "cuda")]
fn cuda(ordinal: usize) -> Result<Device, Error> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    let count = CudaContext::device_count().map_err(|error| Error::NoDriver { ordinal, found: error.to_string() })?;
    let count = usize::try_from(count).unwrap_or(0);
    if ordinal >= count {
        return Err(Error::NoSuchDevice { ordinal, count });
    }
    let unusable = |found: String| Error::Unusable { ordinal, found };
    let tensors = candle_core::Device::new_cuda(ordinal).map_err(|error| unusable(error.to_string()))?;
    let cuda = tensors.as_cuda_device().map_err(|error| unusable(error.to_string()))?;
    let model = cuda.cuda_stream().context().name().map_err(|error| unusable(error.to_string()))?;
    Ok(Device { name: format!("cuda:{ordinal} ({model})"), passed_over: None, tensors })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_met_with_the_nearest_device() {
        for choice in [Choice::Auto, Choice::Cpu, Choice::Cuda(0), Choice::Cuda(ORDINAL_MAX)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for (typed, part) in [
            ("cuda", "did you mean `cuda:0`?"),
            ("cdua:0", "did you mean `cuda:0`?"),
            ("gpu", "did you mean `cpu`?"),
            ("CPU", "did you mean `cpu`?"),
            ("metal", "possible: `auto`, `cpu`, `cuda:0`"),
            ("", "possible: `auto`"),
            ("cuda:", "a number from 0 to 1023"),
            ("cuda:-1", "a number from 0 to 1023"),
            ("cuda:1024", "a number from 0 to 1023"),
        ] {
            let error = typed.parse::<Choice>().unwrap_err();
            assert!(error.to_string().contains(part), "{typed}: {error}");
        }
    }

    /// Whoever asks for nothing must be able to train everywhere.
    #[test]
    fn auto_always_finds_a_device_and_says_why_it_is_not_cuda() {
        let device = Choice::Auto.open().unwrap();
        assert_eq!(device.is_cpu(), device.name() == "cpu");
        assert_eq!(device.passed_over().is_some(), device.is_cpu() && cfg!(feature = "cuda"));
        assert!(Choice::Cpu.open().unwrap().is_cpu());
    }

    /// No machine has so many; training elsewhere than asked for would be a silent surprise.
    #[test]
    fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
        let error = Choice::Cuda(ORDINAL_MAX).open().unwrap_err();
        assert!(error.to_string().starts_with("could not use device `cuda:1023`: "), "{error}");
        assert!(error.hint().unwrap().contains("cpu"), "{error:?}");
        if !cfg!(feature = "cuda") {
            assert_eq!(error, Error::NotBuilt { ordinal: ORDINAL_MAX });
        }
    }
}
