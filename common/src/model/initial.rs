//! Initial values, from seed streams: the same on every machine and in every language binding.

use super::{Model, Parameter};
use crate::id::{Round, Seed};
use crate::parameters::{AlignedBuffer, Parameters};
use crate::rng::{self, Purpose, Stream};

/// What a parameter is for, which decides how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Is added: uniform in ±1/√fan_in, or zero where the scheme says so.
    Bias,
    /// Scales normalised values: one, whatever the scheme.
    Scale,
    /// Shifts normalised values: zero, whatever the scheme.
    Shift,
    /// Is looked up: standard normal, or zero where the scheme says so.
    Table,
    /// Is multiplied with: by the scheme.
    Weight,
}

/// How weights begin. Biases are uniform in ±1/√fan_in (`PyTorch`'s default), or zero where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Uniform in ±√(6/(fan_in + fan_out)): Glorot and Bengio 2010, equation 16.
    GlorotUniform,
    /// Normal with variance 2/fan_in: He et al. 2015, equation 10.
    HeNormal,
    /// Uniform with variance 2/fan_in: ±√(6/fan_in).
    HeUniform,
    /// All zeros.
    Zeros,
}

impl Init {
    /// The names of all schemes, as typed in run files.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("glorot_uniform", Self::GlorotUniform),
        ("he_normal", Self::HeNormal),
        ("he_uniform", Self::HeUniform),
        ("zeros", Self::Zeros),
    ];

    #[expect(clippy::cast_precision_loss, reason = "fans are far below 2^53")]
    fn draw(self, parameter: &Parameter, stream: &mut Stream) -> f64 {
        let (fan_in, fan_out) = (parameter.fan_in as f64, parameter.fan_out as f64);
        let mut within = |bound: f64| (2.0 * stream.uniform() - 1.0) * bound;
        match (self, parameter.kind) {
            (_, Kind::Scale) => 1.0,
            (_, Kind::Shift) | (Self::Zeros, _) => 0.0,
            (_, Kind::Bias) => within(1.0 / libm::sqrt(fan_in)),
            (_, Kind::Table) => stream.normal(),
            (Self::GlorotUniform, Kind::Weight) => within(libm::sqrt(6.0 / (fan_in + fan_out))),
            (Self::HeUniform, Kind::Weight) => within(libm::sqrt(6.0 / fan_in)),
            (Self::HeNormal, Kind::Weight) => stream.normal() * libm::sqrt(2.0 / fan_in),
        }
    }
}

/// The initial parameters of `model`: one stream, drawn layer by layer, weights before biases, in row-major order.
#[must_use]
pub fn parameters(model: &Model, seed: Seed) -> Parameters {
    let mut stream = rng::stream(seed, Round(0), None, Purpose::Init);
    let mut buffer = AlignedBuffer::zeroed(model.layout.bytes());
    for parameter in &model.parameters {
        let tensor = model.layout.find(&parameter.name).expect("the layout was made of these parameters");
        for chunk in buffer.as_mut()[tensor.range()].chunks_exact_mut(model.dtype.size()) {
            model.dtype.write(model.init.draw(parameter, &mut stream), chunk);
        }
    }
    Parameters::new(model.layout.clone(), buffer.into_bytes()).expect("the buffer was made for the layout")
}

#[cfg(test)]
mod tests {
    use super::super::Input;
    use super::*;
    use crate::config::Document;

    fn model(init: &str) -> Model {
        let text = format!(
            "input = {{ shape = [100], classes = 50 }}\n[model]\ninit = '{init}'\nlayers = [{{kind='linear',out=50}}]"
        );
        let mut root = Document::parse("m.toml", &text).unwrap().table();
        let input = Input::parse(root.section("input").unwrap()).unwrap();
        Model::parse(root.section("model").unwrap(), &input).unwrap()
    }

    #[test]
    fn schemes_have_their_variances() {
        for (word, variance) in
            [("he_normal", 0.02), ("he_uniform", 0.02), ("glorot_uniform", 2.0 / 150.0), ("zeros", 0.0)]
        {
            let parameters = parameters(&model(word), Seed(1));
            // Packed order: 50 biases before 5000 weights.
            let values: Vec<f64> = parameters.values().skip(50).collect();
            let got = values.iter().map(|v| v * v).sum::<f64>() / 5000.0;
            // Five standard errors of a normal's variance at 5000 values: 5·√(2/5000) = 10 %.
            assert!((got - variance).abs() <= 0.1 * variance, "{word}: {got} against {variance}");
        }
    }

    /// As PyTorch begins them: a normalisation as the identity, an embedding as a standard normal.
    #[test]
    fn normalisations_begin_as_the_identity_and_tables_as_normal_numbers() {
        let text = |init| {
            format!(
                "input = {{ shape = [2], classes = 20 }}\n[model]\ninit = '{init}'\nlayers = [\
                 {{kind='embedding',count=500,out=10}}, {{kind='layer_norm'}}, 'flatten']"
            )
        };
        for (init, variance) in [("he_normal", 1.0), ("zeros", 0.0)] {
            let mut root = Document::parse("m.toml", &text(init)).unwrap().table();
            let input = Input::parse(root.section("input").unwrap()).unwrap();
            let parameters = parameters(&Model::parse(root.section("model").unwrap(), &input).unwrap(), Seed(1));
            // Packed order: the table of layer 0, then bias and weight of layer 1.
            let values: Vec<f64> = parameters.values().collect();
            let got = values[..5000].iter().map(|v| v * v).sum::<f64>() / 5000.0;
            assert!((got - variance).abs() <= 0.1 * variance, "{init}: {got} against {variance}");
            assert_eq!(values[5000..], [vec![0.0; 10], vec![1.0; 10]].concat());
        }
    }

    /// A changed generator or order of drawing silently changes every published result.
    #[test]
    fn initial_model_is_pinned() {
        assert_eq!(parameters(&model("he_normal"), Seed(1)).digest().short(), "a418a635");
        assert_ne!(
            parameters(&model("he_normal"), Seed(2)).digest(),
            parameters(&model("he_normal"), Seed(1)).digest()
        );
    }
}
