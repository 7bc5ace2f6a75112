//! What a lock costs on the client crate alone, for `benches/run.sh`: connect, create, list, spawn, close; no lease is
//! minded, no signal passed on, no other process watches this one.
//!
//!     zookeeper-peer HOST:PORT DIRECTORY COMMAND [ARG…]     the directory exists

use std::error::Error;
use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode};

/// That of dlock.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let mut word = |what: &str| words.next().ok_or_else(|| format!("{what} is missing"));
    let servers = text(word("the server")?)?;
    let directory = text(word("the directory")?)?;
    let command = word("the command")?;

    let client = Client::connector().with_session_timeout(SESSION_TIMEOUT).connect(&servers).await?;
    let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, sequence) = client.create(&format!("{directory}/peer-lock-"), b"", &ephemeral).await?;
    let own = format!("peer-lock-{sequence}");
    let first = client.list_children(&directory).await?.into_iter().min();
    if first.as_deref() != Some(&own) {
        return Err(format!("{first:?} is ahead of {own}").into());
    }
    let status = Command::new(&command).args(words).status()?;

    // The session ends, and its node goes, only when the crate's own task has had the answer to the close.
    let mut states = client.state_watcher();
    let alive = !client.state().is_terminated();
    drop(client);
    while alive && !states.changed().await.is_terminated() {}
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{} is no text", word.display()))
}
