//! A job of photos: reads ahead, sends, and writes down what is answered.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{self, Stream, StreamExt};
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tonic::Request;
use vidimus_proto::internal::v1;

use super::Client;
use super::journal::{Answer, Journal};
use super::source::{Photo, Source, external_image_id};

/// Photos that are read ahead, each of up to 15 MiB: over a network one read takes as long as several faces to embed.
const READ_AHEAD: usize = 16;
/// How often the service is told that the next photo is still looked for: it gives up a sender that is silent.
const SAY_SO_EVERY: Duration = Duration::from_secs(10);
/// What goes wrong on the way to the service, and waits to be noticed.
const NOTES_MAX: usize = 64;

/// What the sending side has to say.
enum Note {
    /// A photo that was not even sent.
    Refused(Answer),
    /// The source failed.
    Failed(anyhow::Error),
    /// So many more are to come.
    Found(u64),
}

/// Sends every photo of the source that is not answered yet, and writes down what comes of each.
pub(super) async fn run(
    mut client: Client,
    (target, source): (v1::BulkTarget, Source),
    journal: &mut Journal,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let (notes, mut noted) = mpsc::channel(NOTES_MAX);
    let requests = requests(target, Arc::new(source), (journal.names(), notes));
    let called = client.index_photos(Request::new(requests)).await;
    let mut answers = called.map_err(said)?.into_inner();
    let mut failed = None;
    loop {
        tokio::select! {
            Some(note) = noted.recv() => match note {
                Note::Refused(answer) => write(journal, bar, &answer)?,
                Note::Failed(error) => failed = Some(error),
                Note::Found(count) => bar.inc_length(count),
            },
            answer = answers.message() => {
                let Some(answer) = answer.map_err(said)? else { break };
                let state = answer.state.unwrap_or_default();
                write(journal, bar, &Answer::of(answer.name, &state))?;
            }
        }
    }
    while let Ok(note) = noted.try_recv() {
        match note {
            Note::Refused(answer) => write(journal, bar, &answer)?,
            Note::Failed(error) => failed = Some(error),
            Note::Found(_) => {}
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What the service said, without what gRPC adds.
pub(super) fn said(status: tonic::Status) -> anyhow::Error {
    let message = status.message().to_owned();
    anyhow::Error::new(status).context(message)
}

fn write(journal: &mut Journal, bar: &ProgressBar, answer: &Answer) -> anyhow::Result<()> {
    bar.inc(1);
    journal.write(answer)?;
    let refused = journal.totals().refused;
    if refused > 0 {
        bar.set_message(format!("({refused} refused)"));
    }
    Ok(())
}

/// The messages of the stream: the target first, then photos in about the order of their names, and where none is found for a while that
/// this is still there.
fn requests(
    target: v1::BulkTarget,
    source: Arc<Source>,
    (answered, notes): (HashSet<String>, mpsc::Sender<Note>),
) -> impl Stream<Item = v1::IndexPhotosRequest> + Send + 'static {
    let first = v1::IndexPhotosRequest { target: Some(target), photo: None };
    let names = names(Arc::clone(&source), (answered, notes.clone()));
    let reading = move |name: String| {
        let (source, notes) = (Arc::clone(&source), notes.clone());
        async move { read(&source, name, &notes).await }
    };
    let photos = names.map(reading).buffer_unordered(READ_AHEAD).filter_map(async |request| request);
    let said = stream::unfold(Box::pin(photos), async |mut photos| {
        let next = tokio::time::timeout(SAY_SO_EVERY, photos.next()).await;
        let request = next.unwrap_or_else(|_| Some(v1::IndexPhotosRequest::default()))?;
        Some((request, photos))
    });
    stream::once(async { first }).chain(said)
}

/// The names that are not answered yet, page after page.
fn names(
    source: Arc<Source>,
    (answered, notes): (HashSet<String>, mpsc::Sender<Note>),
) -> impl Stream<Item = String> + Send + 'static {
    let walk = (source, answered, notes, Some(None::<String>));
    let pages = stream::unfold(walk, |(source, answered, notes, after)| async move {
        let after = after?;
        let page = match source.names(after.as_deref()).await {
            Ok(page) => page,
            Err(error) => {
                let _ = notes.send(Note::Failed(error)).await;
                return None;
            }
        };
        let last = page.last().cloned()?;
        let left = page.into_iter().filter(|name| !answered.contains(name)).collect::<Vec<_>>();
        let _ = notes.send(Note::Found(left.len() as u64)).await;
        Some((left, (source, answered, notes, Some(Some(last)))))
    });
    pages.flat_map(stream::iter)
}

/// A photo to send; none where it cannot be brought in.
async fn read(source: &Source, name: String, notes: &mpsc::Sender<Note>) -> Option<v1::IndexPhotosRequest> {
    let photo = match source.read(&name).await.with_context(|| name.clone()) {
        Ok(Photo::Bytes(photo)) => photo,
        Ok(Photo::Refused(reason)) => {
            let _ = notes.send(Note::Refused(Answer::refused(name, reason))).await;
            return None;
        }
        Err(error) => {
            let _ = notes.send(Note::Failed(error)).await;
            return None;
        }
    };
    let photo = v1::JobPhoto { external_image_id: external_image_id(&name), name, photo };
    Some(v1::IndexPhotosRequest { target: None, photo: Some(photo) })
}
