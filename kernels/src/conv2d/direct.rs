//! Convolution without columns, on AVX-512, for one image at a time.
//!
//! A register holds sixteen output channels of one pixel. A tile of up to fourteen neighbouring pixels times two
//! registers stays in the register file while the loop runs over every input channel and kernel element: two loads
//! of weights and fourteen broadcast pixels feed twenty-eight multiplications. The image needs a border of zeros,
//! the weights an order in which one step's channels lie together; both cost a few percent and nothing leaves the
//! cache. The gradient of the input is the same loop over the mirrored kernel. The gradient of the weight keeps a
//! tile of kernel elements in registers while it runs over the pixels.

use std::arch::x86_64::{__m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps};

use crate::avx512::{LANES, load, store};

/// Pixels of one tile: with two registers each and the weights, all 32 registers are in use.
const PIXELS: usize = 14;
/// Output channels of one tile, and registers they take.
const BLOCK: usize = 2 * LANES;
const HALVES: usize = 2;

/// A convolution with a horizontal stride of one, between one image with a border and one result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    pub(crate) channels: usize,
    pub(crate) out_channels: usize,
    /// Height and width of the image, without border.
    pub(crate) input: [usize; 2],
    /// Rows and columns of zeros on either side.
    pub(crate) padding: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) vertical_stride: usize,
    /// Height and width of the result.
    pub(crate) output: [usize; 2],
}

impl Direct {
    fn taps(self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    fn blocks(self) -> usize {
        self.out_channels.div_ceil(BLOCK)
    }

    fn padded_size(self) -> [usize; 2] {
        [self.input[0] + 2 * self.padding[0], self.input[1] + 2 * self.padding[1]]
    }

    /// Elements of the image with its border.
    pub(crate) fn padded_len(self) -> usize {
        let [height, width] = self.padded_size();
        self.channels * height * width
    }

    /// Elements of the weights in this module's order: `[block, tap, channel of the block]`.
    pub(crate) fn packed_len(self) -> usize {
        self.blocks() * self.taps() * BLOCK
    }

    /// Elements of a result with its channels innermost: `[block, pixel, channel of the block]`.
    pub(crate) fn turned_len(self) -> usize {
        self.blocks() * self.output[0] * self.output[1] * BLOCK
    }

    /// Where every tap reads, relative to where its window begins in the image with its border.
    pub(crate) fn offsets(self, offsets: &mut Vec<usize>) {
        let [height, width] = self.padded_size();
        offsets.clear();
        for channel in 0..self.channels {
            for ky in 0..self.kernel[0] {
                for kx in 0..self.kernel[1] {
                    let line = channel * height + ky * self.dilation[0];
                    offsets.push(line * width + kx * self.dilation[1]);
                }
            }
        }
    }

    /// Copies the image between its borders. The borders of `padded` must be zero already, and stay so.
    pub(crate) fn pad(self, image: &[f32], padded: &mut [f32]) {
        let ([height, width], [padded_height, padded_width]) = (self.input, self.padded_size());
        for (from, to) in image.chunks_exact(height * width).zip(padded.chunks_exact_mut(padded_height * padded_width))
        {
            let inner = to[self.padding[0] * padded_width..].chunks_exact_mut(padded_width);
            for (from, to) in from.chunks_exact(width).zip(inner) {
                to[self.padding[1]..][..width].copy_from_slice(from);
            }
        }
    }

    /// Brings weights into this module's order. `weight(out_channel, tap)` reads them; missing channels are zero.
    pub(crate) fn pack(self, packed: &mut [f32], weight: impl Fn(usize, usize) -> f32) {
        for (at, lanes) in packed.chunks_exact_mut(BLOCK).enumerate() {
            let (block, tap) = (at / self.taps(), at % self.taps());
            for (lane, value) in lanes.iter_mut().enumerate() {
                let channel = block * BLOCK + lane;
                *value = if channel < self.out_channels { weight(channel, tap) } else { 0.0 };
            }
        }
    }

    /// Adds gradients in this module's order to `[out_channels, taps]`.
    pub(crate) fn unpack(self, packed: &[f32], dw: &mut [f32]) {
        let taps = self.taps();
        for (at, lanes) in packed.chunks_exact(BLOCK).enumerate() {
            let (block, tap) = (at / taps, at % taps);
            for (lane, &value) in lanes.iter().enumerate().take(self.out_channels - block * BLOCK) {
                dw[(block * BLOCK + lane) * taps + tap] = value;
            }
        }
    }

    /// Turns a result so that its channels are innermost; missing channels are zero.
    pub(crate) fn turn(self, result: &[f32], turned: &mut [f32]) {
        let pixels = self.output[0] * self.output[1];
        for (block, turned) in turned.chunks_exact_mut(pixels * BLOCK).enumerate() {
            let first = block * BLOCK;
            for lane in 0..BLOCK {
                let column = turned[lane..].iter_mut().step_by(BLOCK);
                if first + lane < self.out_channels {
                    let plane = &result[(first + lane) * pixels..][..pixels];
                    column.zip(plane).for_each(|(to, &from)| *to = from);
                } else {
                    column.for_each(|to| *to = 0.0);
                }
            }
        }
    }

    /// Writes `result` `[out_channels, output height, output width]`.
    #[target_feature(enable = "avx512f")]
    pub(crate) fn convolve(self, offsets: &[usize], padded: &[f32], packed: &[f32], result: &mut [f32]) {
        let [out_height, out_width] = self.output;
        let [_, padded_width] = self.padded_size();
        let tiles = out_width.div_ceil(PIXELS);
        for (packed, result) in
            packed.chunks_exact(self.taps() * BLOCK).zip(result.chunks_mut(BLOCK * out_height * out_width))
        {
            let weights = packed.as_chunks::<LANES>().0;
            for y in 0..out_height {
                // Tiles of nearly equal width, because a narrow one wastes most of its registers.
                for tile in 0..tiles {
                    let (left, right) = (out_width * tile / tiles, out_width * (tile + 1) / tiles);
                    let image = &padded[y * self.vertical_stride * padded_width + left..];
                    let result = &mut result[y * out_width + left..];
                    convolve_tile(right - left, offsets, image, weights, result, out_height * out_width);
                }
            }
        }
    }

    /// Adds one image's gradients to `sums`, which are in the packed order, from the result's turned gradient.
    #[target_feature(enable = "avx512f")]
    pub(crate) fn correlate(self, offsets: &[usize], padded: &[f32], turned: &[f32], sums: &mut [f32]) {
        let pixels = self.output[0] * self.output[1];
        let kernel_width = self.kernel[1];
        for (turned, sums) in turned.chunks_exact(pixels * BLOCK).zip(sums.chunks_exact_mut(self.taps() * BLOCK)) {
            let pixels = turned.as_chunks::<LANES>().0;
            let sums = sums.as_chunks_mut::<LANES>().0;
            match kernel_width {
                1 => self.correlate_rows::<1, 12>(offsets, padded, pixels, sums),
                2 => self.correlate_rows::<2, 6>(offsets, padded, pixels, sums),
                3 => self.correlate_rows::<3, 4>(offsets, padded, pixels, sums),
                4 => self.correlate_rows::<4, 3>(offsets, padded, pixels, sums),
                5 => self.correlate_rows::<5, 2>(offsets, padded, pixels, sums),
                6 => self.correlate_rows::<6, 2>(offsets, padded, pixels, sums),
                7 => self.correlate_rows::<7, 2>(offsets, padded, pixels, sums),
                _ => unreachable!("kernels wider than {WIDTH_MAX} take the other path"),
            }
        }
    }

    /// The kernel's rows (of every channel) in tiles of `ROWS`, what is left over one by one.
    #[target_feature(enable = "avx512f")]
    fn correlate_rows<const WIDTH: usize, const ROWS: usize>(
        self,
        offsets: &[usize],
        padded: &[f32],
        pixels: &[[f32; LANES]],
        sums: &mut [[f32; LANES]],
    ) {
        let tiles = offsets.chunks(ROWS * WIDTH).zip(sums.chunks_mut(ROWS * WIDTH * HALVES));
        for (offsets, sums) in tiles {
            if offsets.len() == ROWS * WIDTH {
                self.correlate_tile::<WIDTH, ROWS>(offsets, padded, pixels, sums);
            } else {
                for (offsets, sums) in offsets.chunks_exact(WIDTH).zip(sums.chunks_exact_mut(WIDTH * HALVES)) {
                    self.correlate_tile::<WIDTH, 1>(offsets, padded, pixels, sums);
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn correlate_tile<const WIDTH: usize, const ROWS: usize>(
        self,
        offsets: &[usize],
        padded: &[f32],
        pixels: &[[f32; LANES]],
        sums: &mut [[f32; LANES]],
    ) {
        let [out_height, out_width] = self.output;
        let line = self.vertical_stride * self.padded_size()[1];
        let mut tile = [[[_mm512_setzero_ps(); HALVES]; WIDTH]; ROWS];
        for y in 0..out_height {
            let mut rows = [&padded[..0]; ROWS];
            for r in 0..ROWS {
                rows[r] = &padded[offsets[r * WIDTH] + y * line..][..out_width + WIDTH - 1];
            }
            let gradients = &pixels[y * out_width * HALVES..][..out_width * HALVES];
            for x in 0..out_width {
                let gradient = [load(&gradients[x * HALVES]), load(&gradients[x * HALVES + 1])];
                for r in 0..ROWS {
                    for k in 0..WIDTH {
                        accumulate(&mut tile[r][k], rows[r][x + k], &gradient);
                    }
                }
            }
        }
        for r in 0..ROWS {
            for k in 0..WIDTH {
                for h in 0..HALVES {
                    let sum = &mut sums[(r * WIDTH + k) * HALVES + h];
                    let total = _mm512_add_ps(load(sum), tile[r][k][h]);
                    store(sum, total);
                }
            }
        }
    }
}

/// Widest kernel that [`Direct::correlate`] has a tile for.
pub(crate) const WIDTH_MAX: usize = 7;

#[inline]
#[target_feature(enable = "avx512f")]
fn accumulate(sums: &mut [__m512; HALVES], pixel: f32, lanes: &[__m512; HALVES]) {
    let pixel = _mm512_set1_ps(pixel);
    for h in 0..HALVES {
        sums[h] = _mm512_fmadd_ps(pixel, lanes[h], sums[h]);
    }
}

/// One tile of `width` pixels; `result` begins at the tile's first pixel of the block's first channel.
#[target_feature(enable = "avx512f")]
fn convolve_tile(
    width: usize,
    offsets: &[usize],
    image: &[f32],
    weights: &[[f32; LANES]],
    result: &mut [f32],
    plane: usize,
) {
    match width {
        1 => tile::<1>(offsets, image, weights, result, plane),
        2 => tile::<2>(offsets, image, weights, result, plane),
        3 => tile::<3>(offsets, image, weights, result, plane),
        4 => tile::<4>(offsets, image, weights, result, plane),
        5 => tile::<5>(offsets, image, weights, result, plane),
        6 => tile::<6>(offsets, image, weights, result, plane),
        7 => tile::<7>(offsets, image, weights, result, plane),
        8 => tile::<8>(offsets, image, weights, result, plane),
        9 => tile::<9>(offsets, image, weights, result, plane),
        10 => tile::<10>(offsets, image, weights, result, plane),
        11 => tile::<11>(offsets, image, weights, result, plane),
        12 => tile::<12>(offsets, image, weights, result, plane),
        13 => tile::<13>(offsets, image, weights, result, plane),
        PIXELS => tile::<PIXELS>(offsets, image, weights, result, plane),
        _ => unreachable!("a tile has 1 to {PIXELS} pixels"),
    }
}

#[target_feature(enable = "avx512f")]
fn tile<const P: usize>(offsets: &[usize], image: &[f32], weights: &[[f32; LANES]], result: &mut [f32], plane: usize) {
    let mut sums = [[_mm512_setzero_ps(); HALVES]; P];
    for (&offset, weights) in offsets.iter().zip(weights.as_chunks::<HALVES>().0) {
        let pixels = &image[offset..][..P];
        let weights = [load(&weights[0]), load(&weights[1])];
        for p in 0..P {
            accumulate(&mut sums[p], pixels[p], &weights);
        }
    }
    let mut turned = [[[0.0; LANES]; HALVES]; P];
    for p in 0..P {
        for h in 0..HALVES {
            store(&mut turned[p][h], sums[p][h]);
        }
    }
    for (channel, result) in result.chunks_mut(plane).take(BLOCK).enumerate() {
        let (half, lane) = (channel / LANES, channel % LANES);
        for p in 0..P {
            result[p] = turned[p][half][lane];
        }
    }
}
