//! What a model is: its layers, the shapes between them, its parameters' names and initial values.
//!
//! The list of layers of the run file and the input's shape decide everything here, so that the coordinator can check and
//! initialise a model without a tensor library. What a layer computes stands with the client.

pub mod initial;
pub mod input;
pub mod layer;

use std::sync::Arc;

pub use initial::{Init, Kind};
pub use input::{Classes, Input, Standardise};
pub use layer::Layer;

use crate::config::{Error, Table, choose};
use crate::parameters::{Dtype, Layout};

/// The most layers of a model.
pub const LAYERS_MAX: usize = 1000;

/// The most values of one example between two layers: none that fits a device's memory comes near.
pub const LAYER_VALUES_MAX: usize = 1 << 36;

/// The sizes of one example's dimensions, without the batch: `[784]`, or `[1, 28, 28]` for channels, height, width.
pub type Shape = Vec<usize>;

/// A parameter of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// As a PyTorch `state_dict` of `nn.Sequential` has it: `0.weight`.
    pub name: String,
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values that one output sums over.
    pub fan_in: usize,
    /// Outputs that one input value reaches.
    pub fan_out: usize,
    /// What it is for, which decides how it begins.
    pub kind: Kind,
}

/// A model's specification: layers whose shapes fit.
#[derive(Clone, Debug)]
pub struct Model {
    /// How parameters are stored and trained.
    pub dtype: Dtype,
    /// Initial values.
    pub init: Init,
    /// A file with initial values, relative to the run file; `init` is then not used.
    pub from: Option<String>,
    /// The layers, in order.
    pub layers: Vec<Layer>,
    /// The shape that enters each layer, and, last, the shape of the output.
    pub shapes: Vec<Shape>,
    /// Every parameter, in the order of the layers.
    pub parameters: Vec<Parameter>,
    /// Where each parameter stands in the buffer.
    pub layout: Arc<Layout>,
}

impl Model {
    /// Reads `[model]`.
    ///
    /// # Errors
    /// Unknown keys or layers, and layers whose shapes do not fit: which layer, and what arrived.
    pub fn parse(mut table: Table, input: &Input) -> Result<Self, Error> {
        let dtype = match table.optional("dtype") {
            Some(item) => choose::word(&Dtype::WORDS, "dtype", &item)?,
            None => Dtype::F32,
        };
        let init = match table.optional("init") {
            Some(item) => choose::word(&Init::WORDS, "initialisation", &item)?,
            None => Init::HeNormal,
        };
        let from = table.optional("from").map(|item| item.text().map(str::to_owned)).transpose()?;
        let item = table.required("layers")?;
        let place = item.clone();
        let items = item.list()?;
        if items.is_empty() || items.len() > LAYERS_MAX {
            return Err(place.fail(format!("a model has from 1 to {LAYERS_MAX} layers, found {}", items.len())));
        }
        let mut layers = Vec::new();
        let mut shapes = vec![input.shape.clone()];
        let mut parameters = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let place = item.clone();
            let layer = choose::from_item(layer::ROWS, "layer", item)?;
            if let Layer::Embedding(_) = layer {
                check_indices(&layers, input)
                    .map_err(|(why, hint)| place.fail(format!("layer {index} (embedding): {why}")).with_hint(hint))?;
            }
            let arrives = shapes.last().expect("the input's shape is there");
            let leaves = layer.output(arrives).and_then(countable).map_err(|why| {
                place.fail(format!("layer {index} ({}): {why}; a shape of {arrives:?} arrives", layer.name()))
            })?;
            parameters.extend(layer.parameters(index, arrives));
            shapes.push(leaves);
            layers.push(layer);
        }
        table.finish()?;
        let tensors = parameters.iter().map(|parameter| (parameter.name.clone(), dtype, parameter.shape.clone()));
        let layout = Layout::new(tensors).map_err(|error| place.fail(error.to_string()))?;
        let model = Self { dtype, init, from, layers, shapes, parameters, layout };
        model.check_output(input).map_err(|why| place.fail(why))?;
        Ok(model)
    }

    /// Number of values that the model puts out for one example.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.shapes.last().map_or(0, |shape| shape.iter().product())
    }

    /// What every value of an example must be below, as a whole number; none where examples are any numbers.
    #[must_use]
    pub fn indices_below(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Embedding(embedding) => Some(embedding.count),
            _ => None,
        })
    }

    fn check_output(&self, input: &Input) -> Result<(), String> {
        let leaves = self.shapes.last().expect("the input's shape is there");
        if leaves.len() != 1 {
            return Err(format!(
                "the last layer leaves a shape of {leaves:?}; add a layer of kind `flatten` before it"
            ));
        }
        let expected = input.classes.as_ref().map_or(1, Classes::count);
        if leaves[0] != expected {
            return Err(match input.classes {
                Some(_) => format!("the last layer has {} outputs, `input.classes` says {expected}", leaves[0]),
                None => format!("the last layer has {} outputs, regression (no `input.classes`) has 1", leaves[0]),
            });
        }
        Ok(())
    }
}

/// The shape, if it has at most [`LAYER_VALUES_MAX`] values.
fn countable(shape: Shape) -> Result<Shape, String> {
    let values = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size));
    if values.is_none_or(|values| values > LAYER_VALUES_MAX) {
        return Err(format!("it leaves {shape:?}, more than {LAYER_VALUES_MAX} values of one example"));
    }
    Ok(shape)
}

/// Whether the values of the input reach a layer that reads them as indices; else the problem and what to do.
fn check_indices(before: &[Layer], input: &Input) -> Result<(), (String, &'static str)> {
    if let Some(layer) = before.iter().find(|layer| **layer != Layer::Flatten) {
        let why =
            format!("it reads the whole numbers of the input, a layer of kind `{}` stands before it", layer.name());
        return Err((why, "make it the first layer"));
    }
    // Dividing by one leaves every number as it is, so this comparison is exact.
    #[expect(clippy::float_cmp, reason = "any other divisor changes the indices")]
    let is_changed = input.divide != 1.0 || input.standardise.is_some();
    if is_changed {
        let why = "it reads the whole numbers of the input, which `[input]` divides or standardises".to_owned();
        return Err((why, "leave `input.divide`, `input.mean` and `input.std` out"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;

    fn parse(layers: &str, shape: &str) -> Result<Model, Error> {
        let text = format!("input = {{ shape = {shape}, classes = 10 }}\nmodel = {{ layers = {layers} }}");
        let mut root = Document::parse("m.toml", &text)?.table();
        let input = Input::parse(root.section("input")?)?;
        Model::parse(root.section("model")?, &input)
    }

    #[test]
    fn mcmahan_models_have_their_published_sizes() {
        let two_nn = parse(
            "[{kind='linear',out=200},{kind='relu'},{kind='linear',out=200},{kind='relu'},{kind='linear',out=10}]",
            "[784]",
        );
        assert_eq!(two_nn.unwrap().layout.count(), 199_210);
        let cnn = parse(
            "[{kind='conv2d',out=32,kernel=5,padding='same'},'relu',{kind='max_pool2d',size=2},
              {kind='conv2d',out=64,kernel=5,padding='same'},'relu',{kind='max_pool2d',size=2},
              'flatten',{kind='linear',out=512},'relu',{kind='linear',out=10}]",
            "[1,28,28]",
        )
        .unwrap();
        assert_eq!(cnn.layout.count(), 1_663_370);
        assert_eq!(cnn.shapes[7], vec![3136]);
        assert!(cnn.layout.find("3.weight").is_some() && cnn.layout.find("9.bias").is_some());
    }

    /// The names and shapes of `torch.nn`'s layers of the same names.
    #[test]
    fn normalisations_and_embeddings_have_the_parameters_of_pytorch() {
        let model = parse(
            "[{kind='embedding',count=50,out=6},{kind='layer_norm'},{kind='rms_norm',dims=2},
              {kind='group_norm',groups=2},'flatten',{kind='linear',out=10}]",
            "[8]",
        )
        .unwrap();
        let found: Vec<_> = model.parameters.iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
        let expected: [(&str, &[usize]); 8] = [
            ("0.weight", &[50, 6]),
            ("1.weight", &[6]),
            ("1.bias", &[6]),
            ("2.weight", &[8, 6]),
            ("3.weight", &[8]),
            ("3.bias", &[8]),
            ("5.weight", &[10, 48]),
            ("5.bias", &[10]),
        ];
        assert_eq!(found, expected);
        assert_eq!(model.indices_below(), Some(50));
    }

    #[test]
    fn normalisations_that_do_not_fit_say_why() {
        let check = |layers: &str, shape: &str, expected: &str| {
            let error = parse(layers, shape).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("[{kind='group_norm',groups=3}]", "[8, 2, 2]", "layer 0 (group_norm): 3 groups do not divide 8 channels");
        check("[{kind='layer_norm',dims=2}]", "[8]", "the last 2 dimensions together; a shape of [8] arrives");
        check("[{kind='rms_norm',dims=5}]", "[8]", "dims");
        check("[{kind='layer_norm',eps=0}]", "[8]", "eps");
        check("[{kind='avg_pool2d',size=9},'flatten']", "[1, 8, 8]", "a window of 9 does not fit 8 values");
        check("[{kind='embedding',count=16777217,out=1},'flatten']", "[4]", "count");
    }

    /// Sizes that multiply beyond the machine's integers would be computed with, or stop the process.
    #[test]
    fn layers_with_too_many_values_are_refused() {
        let check = |embedding: usize, is_allowed: bool| {
            let layers = format!("[{{kind='embedding',count=1,out={embedding}}},{{kind='flatten'}}]");
            let error = parse(&layers, "[65536]").unwrap_err().to_string();
            assert_eq!(!error.contains("values of one example"), is_allowed, "{error}");
        };
        check(1 << 20, true);
        check((1 << 20) + 1, false);
        let layers = "[{kind='embedding',count=1,out=16777216},{kind='conv2d',out=16777216,kernel=1}]";
        assert!(parse(layers, "[1, 4096]").unwrap_err().to_string().contains("layer 1 (conv2d): it leaves"));
    }

    /// Scaled or computed numbers would be rounded to the nearest row of the table without a word.
    #[test]
    fn an_embedding_reads_nothing_but_the_input() {
        let layers = "[{kind='linear',out=4},{kind='embedding',count=9,out=2},'flatten',{kind='linear',out=10}]";
        let error = parse(layers, "[4]").unwrap_err();
        assert!(error.to_string().contains("layer 1 (embedding)") && error.to_string().contains("`linear`"), "{error}");
        let layers = "['flatten',{kind='embedding',count=9,out=2},'flatten',{kind='linear',out=10}]";
        parse(layers, "[2, 2]").unwrap();
        for scaled in ["[4], divide = 2", "[2], mean = [1, 1], std = [1, 1]"] {
            let error = parse(layers, scaled).unwrap_err();
            assert!(error.hint().unwrap().contains("leave `input.divide`"), "{error}");
        }
    }

    #[test]
    fn layers_that_do_not_fit_name_layer_and_shape() {
        let error = parse("[{kind='linear',out=10}]", "[1,28,28]").unwrap_err().to_string();
        assert!(error.contains("layer 0 (linear)") && error.contains("[1, 28, 28] arrives"), "{error}");
        let error = parse("[{kind='max_pool2d',size=40},'flatten',{kind='linear',out=10}]", "[1,28,28]").unwrap_err();
        assert!(error.to_string().contains("layer 0 (max_pool2d)"), "{error}");
        let error = parse("[{kind='linear',out=9}]", "[64]").unwrap_err().to_string();
        assert!(error.contains("9 outputs, `input.classes` says 10"), "{error}");
        let error = parse("[{kind='linaer',out=9}]", "[64]").unwrap_err();
        assert!(error.hint().unwrap().contains("did you mean `linear`"), "{error}");
        let error = parse("[{kind='linear',out=10,bais=false}]", "[64]").unwrap_err();
        assert!(error.hint().unwrap().contains("did you mean `bias`"), "{error}");
    }
}
