//! What the operators' tests share.

use candle_core::{DType, Device, Result, Tensor, Var, WithDType};

use crate::finite_difference::{assert_close, gradient, values};

/// The device that tests compute on: `TRIBUTARY_DEVICE` names it, the CPU where it says nothing.
#[expect(clippy::disallowed_methods, reason = "a test is told from outside where to run")]
pub(super) fn device() -> Device {
    let name = std::env::var("TRIBUTARY_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let cuda = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
    let opened = match (name.as_str(), cuda) {
        ("auto", _) => Device::cuda_if_available(0),
        ("cpu", _) => Ok(Device::Cpu),
        (_, Some(ordinal)) => Device::new_cuda(ordinal),
        _ => panic!("TRIBUTARY_DEVICE: `{name}` is not `auto`, `cpu`, `cuda:0`, `cuda:1`, …"),
    };
    opened.unwrap_or_else(|error| panic!("TRIBUTARY_DEVICE: {error}"))
}

/// A tensor there.
pub(super) fn tensor_of<T: WithDType>(values: &[T], dims: &[usize]) -> Tensor {
    Tensor::from_slice(values, dims, &device()).unwrap()
}

/// A reproducible f64 tensor there.
pub(super) fn tensor(seed: u64, dims: &[usize]) -> Tensor {
    tensor_of(&values(seed, dims.iter().product()), dims)
}

/// The same on the CPU: for what only the kernels promise, and to hold another device against.
pub(super) fn on_cpu(tensor: &Tensor) -> Tensor {
    tensor.to_device(&Device::Cpu).unwrap()
}

/// Whether operators of such a shape can be tested: of empty tensors candle's own know no gradient, and not every device
/// takes them.
pub(super) fn is_tested(dims: &[usize]) -> bool {
    device().is_cpu() || !dims.contains(&0)
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
            let changed = tensor_of(changed, input.dims());
            let inputs = std::array::from_fn(|i| if i == at { &changed } else { &inputs[i] });
            loss(f(inputs).unwrap()).to_scalar().unwrap()
        });
        let actual = gradients.get(tensors[at]).expect("every input gets a gradient");
        assert_eq!(actual.dims(), input.dims());
        assert_close(&list(actual), &by_differences, 1e-7);
    }
}
