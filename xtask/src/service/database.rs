//! What the database servers have in common: files that are theirs alone, a password, and a new start after a kill.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;

const RESTART: &str = include_str!("restart.sh");

/// How long one question may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// A new password: 128 random bits in hexadecimal, which no URL and no configuration file needs to quote.
pub(super) fn password() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Appends `text` to the file at `path`, which is created if it is missing.
pub(super) fn append(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Runs `command` to its end. What it printed is in the error if it failed.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| {
        format!(
            "{} can't be started: {error}",
            command.get_program().display()
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    // Without the variables, which may hold passwords.
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.display().to_string())
        .collect();
    Err(format!(
        "{} failed with {}. It printed:\n{}{}",
        words.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
    .into())
}

/// A command that runs `server` and starts it again when a test has killed it. A file `down` in the server's folder keeps
/// it down. It is asked to stop by `signal`, a name as `kill` knows it.
pub(super) fn restarted(server: &Command, signal: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", RESTART, "restart", signal])
        .arg(server.get_program())
        .args(server.get_args());
    if let Some(folder) = server.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Whether a PostgreSQL server, or one that speaks like it, asks who is there. A server that still recovers refuses.
pub(super) fn answers_as_postgres(port: u16) -> bool {
    // A start-up message: its length, protocol 3.0, the user, the database.
    const HELLO: &[u8] = b"\0\0\0\x29\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    const _: () = assert!(HELLO.len() == 0x29);
    // The kind of message that asks for a password.
    answer(port, HELLO, 1) == Some(vec![b'R'])
}

/// The first `length` bytes that the server at `port` answers to `question`.
pub(super) fn answer(port: u16, question: &[u8], length: usize) -> Option<Vec<u8>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).ok()?;
    stream.write_all(question).ok()?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::super::folder::Folder;
    use super::*;
    use crate::process::{Ended, Running, StopSignal};

    /// A server that says its process id in the file `said`, and then serves.
    fn server(folder: &Path, prepares: &str, serves: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{prepares}; echo $$ >>said; {serves}")])
            .current_dir(folder);
        command
    }

    #[test]
    fn a_killed_server_is_started_again_once_it_may_be_and_stops_when_asked() {
        let folder = Folder::new("test-restarted").unwrap();
        let path = folder.path().join("said");
        run(Command::new("mkfifo").arg(&path)).unwrap();
        // Both ends, so that nobody sees the end of the file between two starts.
        let mut fifo = File::options().read(true).write(true).open(&path).unwrap();
        let mut said = BufReader::new(fifo.try_clone().unwrap())
            .lines()
            .map(Result::unwrap);

        let prepares = "trap 'echo asked >>said; exit' TERM";
        let server = server(folder.path(), prepares, "sleep 600 & wait");
        let command = restarted(&server, "TERM");
        let log = folder.path().join("log");
        let running = Running::start(&command, &log, StopSignal::Terminate).unwrap();
        let first = said.next().unwrap();
        let down = folder.path().join("down");
        append(&down, "").unwrap();
        run(Command::new("kill").args(["-s", "KILL", &first])).unwrap();
        assert!(running.is_alive(), "a killed server was given up");
        fifo.write_all(b"may start\n").unwrap();
        std::fs::remove_file(down).unwrap();
        assert_eq!(said.next().unwrap(), "may start");
        let second = said.next().unwrap();
        assert_ne!(first, second);

        drop(running);
        fifo.write_all(b"stopped\n").unwrap();
        assert_eq!(said.next().unwrap(), "asked", "the server was killed");
        assert!(!Path::new("/proc").join(second).exists());
    }

    #[test]
    fn a_server_that_ends_by_itself_is_not_started_again() {
        let folder = Folder::new("test-ends-itself").unwrap();
        let command = restarted(&server(folder.path(), ":", "exit 3"), "TERM");
        let log = folder.path().join("log");
        let running = Running::start(&command, &log, StopSignal::Terminate).unwrap();
        assert_eq!(
            running.wait(Duration::from_secs(60)).unwrap(),
            Ended::Exited(3)
        );
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap();
        assert_eq!(said.lines().count(), 1, "it was started again: {said}");
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let error = run(Command::new("sh").args(["-c", "echo no space >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
    }

    #[test]
    fn two_passwords_differ_and_need_no_quotes() {
        let (one, other) = (password().unwrap(), password().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
