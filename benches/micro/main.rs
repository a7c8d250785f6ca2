//! Microbenchmarks of what is hot, with the shapes of the published federation: kernels, the fold, messages.
//!
//! ```sh
//! cargo bench --bench micro                     all of them
//! cargo bench --bench micro -- fold             those with `fold` in their name
//! cargo bench --bench micro -- --sample-count 20 linear
//! ```
//!
//! Times mean something on an idle machine only. What must not grow unseen is counted in instructions instead:
//! `benches/instructions.sh`.

mod fold;
mod kernels;
mod wire;

fn main() {
    divan::main();
}
