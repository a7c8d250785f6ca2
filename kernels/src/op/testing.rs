//! What the operators' tests share.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::finite_difference::{assert_close, gradient, values};

/// A reproducible f64 tensor.
pub(super) fn tensor(seed: u64, dims: &[usize]) -> Tensor {
    Tensor::from_vec(values(seed, dims.iter().product()), dims, &Device::Cpu).unwrap()
}

pub(super) fn list(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Equal shapes, and values within rounding.
pub(super) fn same(actual: &Tensor, expected: &Tensor) {
    assert_eq!(actual.dims(), expected.dims());
    assert_close(&list(actual), &list(expected), 1e-12);
}

/// What `f` makes of each model's own inputs, stacked again.
pub(super) fn each<const N: usize>(inputs: [&Tensor; N], f: impl Fn([&Tensor; N]) -> Result<Tensor>) -> Tensor {
    let one = |model: usize| {
        let own = inputs.map(|input| input.get(model).unwrap());
        f(own.each_ref()).unwrap()
    };
    let models = inputs[0].dim(0).unwrap();
    Tensor::stack(&(0..models).map(one).collect::<Vec<_>>(), 0).unwrap()
}

/// Candle's backward pass through `f` and a random projection agrees with finite differences, for every input.
pub(super) fn check_gradients<const N: usize>(inputs: &[Tensor; N], f: impl Fn([&Tensor; N]) -> Result<Tensor>) {
    let coefficients = |y: &Tensor| tensor(99, y.dims());
    let loss = |y: Tensor| (&y * coefficients(&y)).unwrap().sum_all().unwrap();
    let variables = inputs.each_ref().map(|t| Var::from_tensor(t).unwrap());
    let tensors = variables.each_ref().map(|v| v.as_tensor());
    let gradients = loss(f(tensors).unwrap()).backward().unwrap();
    for (at, input) in inputs.iter().enumerate() {
        let by_differences = gradient(&list(input), |changed| {
            let changed = Tensor::from_slice(changed, input.dims(), &Device::Cpu).unwrap();
            let inputs = std::array::from_fn(|i| if i == at { &changed } else { &inputs[i] });
            loss(f(inputs).unwrap()).to_scalar().unwrap()
        });
        let actual = gradients.get(tensors[at]).expect("every input gets a gradient");
        assert_eq!(actual.dims(), input.dims());
        assert_close(&list(actual), &by_differences, 1e-7);
    }
}
