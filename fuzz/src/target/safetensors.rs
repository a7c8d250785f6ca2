//! Model files: `model.from`, `tributary eval`, and what a run's folder keeps.

use tributary_common::parameters::safetensors;

use super::Target;

pub(super) const TARGET: Target = Target {
    name: "safetensors",
    help: "model files, from wherever an operator has them",
    input_bytes_max: 64 * 1024,
    heap_bytes_max: 64 * 1024,
    // A tensor takes at least fifty bytes of JSON and is kept by its file's reader and by our layout.
    heap_bytes_per_byte: 64,
    run,
};

fn run(input: &[u8]) {
    let Ok(parameters) = safetensors::read_from(&mut &input[..], input.len() as u64, "fuzz") else { return };
    let mut written = Vec::new();
    safetensors::write_to(&parameters, &mut written).expect("memory takes everything");
    let again = safetensors::read_from(&mut &written[..], written.len() as u64, "fuzz");
    assert_eq!(again.expect("what was written can be read"), parameters, "a model is the same in its second file");
}
