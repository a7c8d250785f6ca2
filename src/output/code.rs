//! A line of text as a QR code for a camera, drawn with half blocks.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code, or nothing where the text is too long for one. Light on dark terminals is what most cameras expect inverted,
/// hence the exchanged colours.
pub(crate) fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_a_terminal() {
        let token = format!("tributary-join://hub.example.org:4434/{}/{}", "0".repeat(64), "f".repeat(64));
        let drawn = code(&token).unwrap();
        let width = drawn.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(width <= 78 && drawn.lines().count() <= 40, "{width} × {}", drawn.lines().count());
        assert_eq!(code(&"x".repeat(5000)), None);
    }
}
