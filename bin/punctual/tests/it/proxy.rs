//! A way to a shard that can be cut while the shard and those who talk to it live on.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Carries bytes from its own socket to another one, and back.
pub(crate) struct Proxy {
    at: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Both ends of every connection since the last cut.
    ends: Mutex<Vec<[UnixStream; 2]>>,
    is_over: AtomicBool,
}

impl Proxy {
    /// Listens `at` a socket, and carries what comes to another.
    pub(crate) fn start(at: &Path, to: &Path) -> Self {
        let listener = UnixListener::bind(at).expect("the folder is the test's own");
        let shared = Arc::new(Shared::default());
        let (to, carrying) = (to.to_owned(), Arc::clone(&shared));
        thread::spawn(move || carrying.carry(&listener, &to));
        Self { at: at.to_owned(), shared }
    }

    /// Breaks every connection, wherever in a frame it may be. How many there were, counting those
    /// that were broken already.
    pub(crate) fn cut(&self) -> usize {
        let ends = std::mem::take(&mut *self.shared.ends());
        ends.iter().flatten().for_each(hang_up);
        ends.len()
    }
}

impl Shared {
    fn ends(&self) -> std::sync::MutexGuard<'_, Vec<[UnixStream; 2]>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn carry(&self, listener: &UnixListener, to: &Path) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            // Where nobody listens, whoever came finds the connection closed.
            let Ok(far) = UnixStream::connect(to) else { continue };
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone(), to.try_clone());
                let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                thread::spawn(move || {
                    // However it ends, the other direction ends with it.
                    let _ = io::copy(&mut from, &mut to);
                    [from, to].iter().for_each(hang_up);
                });
            }
            self.ends().push([near, far]);
        }
    }
}

/// Nothing happens to a stream that is closed already.
fn hang_up(stream: &UnixStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes the one who listens.
        let _ = UnixStream::connect(&self.at);
        self.cut();
    }
}
