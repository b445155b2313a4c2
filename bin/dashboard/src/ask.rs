//! The thread that asks a queue for tasks and gives it orders: a client waits for its answers, and
//! the thread of the pages must not.

use crate::source::SharedTasks;
use punctual_runtime::tasks::{TaskClient, TaskClientError};
use thiserror::Error;
use tokio::sync::oneshot;

/// Questions that may wait.
const QUESTIONS_MAX: usize = 64;

/// Asks with a client, or is told why there is none. Whether the client can be used again.
pub(crate) type Question = Box<dyn FnOnce(Result<&mut TaskClient, TaskClientError>) -> bool + Send>;

/// Hands questions to the thread.
#[derive(Debug)]
pub(crate) struct Asker {
    questions: flume::Sender<Question>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum AskError {
    /// Too many ask at once.
    #[error("too much was asked at once; ask again in a moment")]
    Busy,
    /// The thread has ended.
    #[error("the dashboard is about to stop")]
    Stopped,
    /// The queue does not answer, or refuses.
    #[error(transparent)]
    Client(#[from] TaskClientError),
}

impl Asker {
    pub(crate) fn new() -> (Self, flume::Receiver<Question>) {
        let (questions, receiver) = flume::bounded(QUESTIONS_MAX);
        (Self { questions }, receiver)
    }

    /// Asks something. What is not waited for any more when its turn comes is not asked.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut TaskClient) -> Result<T, TaskClientError> + Send + 'static,
    ) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        let question = move |client: Result<&mut TaskClient, TaskClientError>| {
            if reply.is_closed() {
                return true;
            }
            let answer = client.and_then(ask);
            let is_usable = answer.as_ref().err().is_none_or(is_about_the_question);
            // Whoever has gone meanwhile does not listen.
            let _ = reply.send(answer);
            is_usable
        };
        self.questions.try_send(Box::new(question)).map_err(|error| match error {
            flume::TrySendError::Full(_) => AskError::Busy,
            flume::TrySendError::Disconnected(_) => AskError::Stopped,
        })?;
        Ok(answer.await.map_err(|_| AskError::Stopped)??)
    }
}

/// Whether an error says nothing about the link.
fn is_about_the_question(error: &TaskClientError) -> bool {
    matches!(error, TaskClientError::Fault(_))
}

/// Answers questions until nobody can ask any more.
pub(crate) fn answer_all(questions: &flume::Receiver<Question>, tasks: &SharedTasks) {
    let mut client = None;
    for question in questions {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => tasks.connect(),
        };
        match connected {
            Ok(mut connected) => {
                if question(Ok(&mut connected)) {
                    client = Some(connected);
                }
            }
            Err(error) => {
                question(Err(error));
            }
        }
    }
}
