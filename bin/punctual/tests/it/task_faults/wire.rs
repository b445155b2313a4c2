//! A network between a farm's server and others, which can be cut, and can swallow what it carries.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Bytes that are carried at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What becomes of bytes and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    #[default]
    Whole,
    /// Connections break, and nobody gets another one.
    Cut,
    /// Bytes vanish, the ends of connections as well, and nobody is told.
    Hole,
    /// The test is over.
    Gone,
}

/// Carries bytes from a port of its own to the socket of a server, and back.
pub(super) struct Wire {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// Both ends of every connection since all of them were last broken.
    ends: Vec<(TcpStream, UnixStream)>,
}

impl Wire {
    /// Listens at a port that the system chooses, and carries what comes to this socket.
    pub(super) fn start(to: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one").to_string();
        let shared = Arc::new(Shared::default());
        let (to, carrying) = (to.to_owned(), Arc::clone(&shared));
        thread::spawn(move || accept(&carrying, &listener, &to));
        Self { address, shared }
    }

    /// Where it is reached.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Breaks every connection, wherever in a frame it may be, and lets nobody through.
    pub(super) fn cut(&self) {
        let broken = self.shared.state().change(Mode::Cut);
        assert!(broken > 0, "there is nothing to cut");
    }

    /// From now on whatever is sent vanishes.
    pub(super) fn swallow(&self) {
        self.shared.state().mode = Mode::Hole;
    }

    /// Lets everybody through again. What is in a connection that was swallowed from makes no sense
    /// any more, so that is broken.
    pub(super) fn heal(&self) {
        self.shared.state().change(Mode::Whole);
    }
}

impl State {
    /// Breaks every connection, and has this become of others. Returns how many there were.
    fn change(&mut self, mode: Mode) -> usize {
        // Before anything is carried on: a part of what was sent is worse than nothing.
        let ends = std::mem::take(&mut self.ends);
        ends.iter().for_each(|(near, far)| hang_up(near, far));
        self.mode = mode;
        ends.len()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self) -> Mode {
        self.state().mode
    }

    /// Carries what comes from one side to the other, until there is nothing more.
    fn carry(&self, mut from: impl Read, mut to: impl Write) {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Ok(len @ 1..) = from.read(&mut buffer) {
            if self.mode() != Mode::Hole && to.write_all(&buffer[..len]).is_err() {
                return;
            }
        }
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, to: &Path) {
    for near in listener.incoming().map_while(Result::ok) {
        match shared.mode() {
            Mode::Gone => return,
            // Whoever came finds the connection closed.
            Mode::Cut => {}
            Mode::Whole | Mode::Hole => {
                let Ok(far) = UnixStream::connect(to) else { continue };
                // As above if that fails.
                let _ = connect(shared, near, far);
            }
        }
    }
}

/// Carries bytes both ways.
fn connect(shared: &Arc<Shared>, near: TcpStream, far: UnixStream) -> io::Result<()> {
    near.set_nodelay(true)?;
    for is_outward in [true, false] {
        let (near, far) = (near.try_clone()?, far.try_clone()?);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            match is_outward {
                true => shared.carry(&near, &far),
                false => shared.carry(&far, &near),
            }
            // However it ends, the other direction ends with it.
            if shared.mode() != Mode::Hole {
                hang_up(&near, &far);
            }
        });
    }
    let mut state = shared.state();
    match state.mode {
        // It came just before.
        Mode::Cut | Mode::Gone => hang_up(&near, &far),
        Mode::Whole | Mode::Hole => state.ends.push((near, far)),
    }
    Ok(())
}

/// Nothing happens to a stream that is closed already.
fn hang_up(near: &TcpStream, far: &UnixStream) {
    let _ = near.shutdown(Shutdown::Both);
    let _ = far.shutdown(Shutdown::Both);
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.state().change(Mode::Gone);
        // Wakes the one who listens.
        let _ = TcpStream::connect(&self.address);
    }
}
