//! Why training or measuring yields no result.

use tributary_common::metrics;

/// Why no result comes. The text names no data: it is sent to the coordinator's operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The examples are not those that the plan describes.
    #[error("could not use the examples: {0}")]
    ExamplesDiffer(String),
    /// The tensor library failed.
    #[error("could not compute: {0}")]
    Execution(String),
    /// More classes than metrics count.
    #[error("could not measure the model: {0}")]
    Metrics(#[from] metrics::Error),
    /// The model's tensors are not the plan's.
    #[error("could not use the model: {0}")]
    ModelDiffers(String),
    /// Nothing to train on or to measure.
    #[error("could not train or measure: there is no example")]
    NoExamples,
    /// A part of the network cannot learn.
    #[error("could not train: tensor `{tensor}` got no gradient in the first step")]
    NoGradient {
        /// Its name.
        tensor: String,
    },
    /// Training diverged; nothing is sent.
    #[error("could not finish training: {what} is not finite in step {step}")]
    NonFinite {
        /// The step, counted from 1.
        step: u64,
        /// The loss, or the tensor.
        what: String,
    },
    /// Not even the smallest part of the work fits into the device's memory.
    #[error("could not compute on {device}: about {needed} bytes of its memory are needed at once{free}")]
    OutOfMemory {
        /// Its name.
        device: String,
        /// Bytes that the smallest part of the work takes.
        needed: usize,
        /// How many are free, where the device tells.
        free: String,
    },
    /// A trainer of one's own failed.
    #[error("could not train: {0}")]
    Own(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A batch needs more memory than is allowed.
    #[error("could not hold a batch of {batch}: its layers need more than {bytes_max} bytes")]
    TooLarge {
        /// Number of examples.
        batch: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The control asked for it.
    #[error("stopped before the end")]
    Stopped,
}

impl Error {
    /// The same for another client whose work ended with it.
    #[cfg(feature = "candle")]
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Execution(text) => Self::Execution(text.clone()),
            Self::NoGradient { tensor } => Self::NoGradient { tensor: tensor.clone() },
            Self::OutOfMemory { device, needed, free } => {
                Self::OutOfMemory { device: device.clone(), needed: *needed, free: free.clone() }
            }
            Self::Stopped => Self::Stopped,
            Self::ExamplesDiffer(_)
            | Self::Metrics(_)
            | Self::ModelDiffers(_)
            | Self::NoExamples
            | Self::NonFinite { .. }
            | Self::Own(_)
            | Self::TooLarge { .. } => Self::Execution(self.to_string()),
        }
    }

    /// What went wrong and what to do in one line, as it is sent to the coordinator's operator.
    #[must_use]
    pub fn advice(&self) -> String {
        self.hint().map_or_else(|| self.to_string(), |hint| format!("{self} (hint: {hint})"))
    }

    /// The hint of an [`advice`](Self::advice).
    #[must_use]
    pub fn hint_in(advice: &str) -> Option<&str> {
        advice.split_once(" (hint: ")?.1.strip_suffix(')')
    }

    /// What the user can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NonFinite { .. } => Some("lower the learning rate, or standardise the input"),
            Self::OutOfMemory { .. } => {
                Some("make the layers smaller, end what else runs on the device, or write --device cpu")
            }
            Self::TooLarge { .. } => Some("lower `train.batch`, or make layers or kernels smaller"),
            Self::NoExamples => Some("check the client's part of the partition and `data.holdout`"),
            Self::ModelDiffers(_) => Some("give the run file that the model was trained with"),
            Self::ExamplesDiffer(_) => Some("load the examples with the plan's `[input]`"),
            Self::Metrics(_) | Self::Execution(_) | Self::NoGradient { .. } | Self::Own(_) | Self::Stopped => None,
        }
    }
}
