//! When to stop: Ctrl-C, SIGTERM, or the end of standard input for a process that must not outlive its parent.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGINT, SIGTERM and, if `is_tethered`, by the end of standard input. Must be called inside
/// a runtime; the set owns the listening task.
///
/// # Errors
/// The system gives no signal handler or thread.
pub fn token(is_tethered: bool, tasks: &mut tokio::task::JoinSet<()>) -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cancelled = token.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancelled.cancel();
    });
    if is_tethered {
        let cancelled = token.clone();
        std::thread::Builder::new().name("tether".to_owned()).spawn(move || {
            // Nobody ever writes here: reading ends when the parent is gone, however it went.
            let mut byte = [0];
            while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
            cancelled.cancel();
        })?;
    }
    Ok(token)
}

/// A flag that is set by SIGINT and SIGTERM, for code without a runtime.
///
/// # Errors
/// The system gives no signal handler or thread.
pub fn flag() -> std::io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            if let Ok(token) = token(false, &mut tasks) {
                token.cancelled().await;
                set.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(flag)
}
