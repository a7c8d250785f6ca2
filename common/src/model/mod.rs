//! What a model is: its layers, the shapes between them, its parameters' names and initial values.
//!
//! The list of layers of the run file and the input's shape decide everything here, so that the coordinator can check and
//! initialise a model without a tensor library. What a layer computes stands with the client.

pub mod initial;
pub mod input;
pub mod layer;

use std::sync::Arc;

pub use initial::Init;
pub use input::{Classes, Input, Standardise};
pub use layer::Layer;

use crate::config::{Error, Table, choose};
use crate::parameters::{Dtype, Layout};

/// The most layers of a model.
pub const LAYERS_MAX: usize = 1000;

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
    /// Whether it is a bias (initialised uniformly) or a weight (initialised by the scheme).
    pub is_bias: bool,
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
            let arrives = shapes.last().expect("the input's shape is there");
            let leaves = layer.output(arrives).map_err(|why| {
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
