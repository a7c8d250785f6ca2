//! Which device `--device auto` trains on here.

use tributary_client::device::{Choice, Error};

use super::Finding;

const CHECK: &str = "device";

pub(super) fn check() -> Finding {
    match Choice::Cuda(0).open() {
        Ok(device) => Finding::ok(CHECK, device.name()),
        Err(error) => judge(&error),
    }
}

fn judge(error: &Error) -> Finding {
    match error {
        Error::NotBuilt { .. } => Finding::ok(CHECK, "cpu; this program was built without CUDA"),
        Error::NoSuchDevice { .. } => Finding::ok(CHECK, "cpu; there is no CUDA device"),
        other => {
            let fix = other.hint().unwrap_or_else(|| "write --device cpu".to_owned());
            Finding::warn(CHECK, format!("cpu; {other}"), fix)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_driver_that_does_not_answer_is_a_warning_and_no_device_is_none() {
        let (ordinal, found) = (0, "CUDA_ERROR_NO_DEVICE".to_owned());
        for (error, verdict) in [
            (Error::NotBuilt { ordinal }, Verdict::Ok),
            (Error::NoSuchDevice { ordinal, count: 0 }, Verdict::Ok),
            (Error::NoDriver { ordinal, found: found.clone() }, Verdict::Warn),
            (Error::Unusable { ordinal, found }, Verdict::Warn),
        ] {
            let finding = judge(&error);
            assert_eq!((finding.verdict, finding.fix.is_some()), (verdict, verdict == Verdict::Warn), "{finding:?}");
            assert!(finding.found.starts_with("cpu; "), "{finding:?}");
        }
    }
}
