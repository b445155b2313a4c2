//! Clients that wait for news, and stop waiting. A queue bounds how much each of them may wait for.

use super::*;

/// More than a queue lets a client wait for at once.
const MANY: u64 = 100;

/// The version of a job as it is now.
fn version(client: &mut TaskClient, job: JobId) -> u64 {
    let news = client.progress(Some(job), 0, PATIENCE).expect("the server answers");
    news.expect("it answers at once").0
}

#[test]
fn whoever_stops_waiting_for_news_again_and_again_is_told_of_them_in_the_end() {
    let server = serve(TaskServerConfig::default());
    for address in [remote(&server), QueueAddress::Local(server.local())] {
        let mut client = client(&address);
        let job = client.open_job(&format!("at {address}")).expect("a job");
        let seen = version(&mut client, job);
        for _ in 0..MANY {
            let news = client.progress(Some(job), seen, Duration::ZERO);
            assert_eq!(news.expect("a question that the server takes"), None);
            assert_eq!(version(&mut client, job), seen);
        }
        submit(&mut client, job, 0..3);
        until(&mut client, job, |counts| counts[TaskState::Ready] == 3);
    }
    server.stop().expect("an orderly stop");
}

#[test]
fn more_jobs_than_may_be_waited_for_at_once_can_be_waited_for_one_after_the_other() {
    let server = serve(TaskServerConfig::default());
    for address in [remote(&server), QueueAddress::Local(server.local())] {
        let mut client = client(&address);
        let open = |number: u64| client.open_job(&format!("{number} at {address}"));
        let jobs: Vec<JobId> = (0..MANY).map(open).map(|job| job.expect("a job")).collect();
        for _ in 0..2 {
            for job in &jobs {
                let seen = version(&mut client, *job);
                // There may be news if the link is a new one.
                client.progress(Some(*job), seen, Duration::ZERO).expect("no question too many");
            }
        }
        submit(&mut client, jobs[0], 0..3);
        until(&mut client, jobs[0], |counts| counts[TaskState::Ready] == 3);
    }
    server.stop().expect("an orderly stop");
}

#[test]
fn news_of_a_server_that_was_started_again_are_told_although_their_version_was_seen() {
    let server = serve(TaskServerConfig::default());
    let address = remote(&server);
    let listen = server.endpoint().expect("it listens").to_string();
    let mut watcher = client(&address);
    let job = watcher.open_job("job").expect("a job");
    submit(&mut watcher, job, 0..10);
    let seen = version(&mut watcher, job);
    server.stop().expect("an orderly stop");

    let config = TaskServerConfig::listening(Address::Tcp(listen), TOKEN);
    let server = TaskServer::start(config).expect("the address is free again");
    let mut other = client(&address);
    assert_eq!(other.open_job("job").expect("a job"), job);
    submit(&mut other, job, 10..20);
    assert_eq!(version(&mut other, job), seen, "they coincide");
    let news = watcher.progress(Some(job), seen, PATIENCE).expect("the server is found again");
    assert_eq!(news.map(|(version, _)| version), Some(seen));
    server.stop().expect("an orderly stop");
}
