//! Cases about writing: versions, parts, removal.

use std::sync::Arc;

use tokio::task::JoinSet;
use vidimus_domain::point::{Gallery, Point, PointBody};
use vidimus_domain::{FaceId, Placement, Template, Version};

use super::{HOUR, LIVE, NOW, Subject, along, blend, erased, live, live_until, search, sorted};
use crate::error::{PortErrorKind, PortResult};
use crate::face_index::{Hits, Listing, RemoveIf};

/// Writers in the race.
const WRITERS: u64 = 16;

/// Where there is no placement nothing is found, and nothing but a write makes one.
pub async fn absent_placements_are_empty(subject: &Subject) -> PortResult<()> {
    let gallery = Gallery { placement: subject.absent.clone(), ..subject.gallery() };
    let (index, face) = (&subject.index, subject.face());
    let remove = RemoveIf { face, version_max: Version::new(9) };
    index.write(&gallery, &[]).await?;
    index.remove(&gallery, &[remove]).await?;
    index.remove_part(&gallery).await?;
    assert_eq!(index.get(&gallery, &[face]).await?, []);
    let hits = index.search(search(&gallery, &along(0))).await?;
    assert_eq!(hits, Hits { candidates: Vec::new(), gallery_faces: 0 });
    assert_eq!(index.scroll(&gallery, Listing::Everything, None, 10).await?, []);
    assert_eq!(index.count(&gallery, LIVE).await?, 0);
    Ok(())
}

/// The first point of a placement may be an erased one, before any template says what its dimension is.
pub async fn an_erased_point_makes_a_placement(subject: &Subject) -> PortResult<()> {
    let gallery = Gallery { placement: subject.absent.clone(), ..subject.gallery() };
    let (face, probe) = (subject.face(), along(0));
    subject.write(&gallery, &[erased(face, 5)]).await?;
    assert_eq!(subject.stored(&gallery, face).await?, Some(erased(face, 5)));
    assert_eq!(subject.found(&gallery, &probe).await?, []);
    subject.write(&gallery, &[live(face, 4, probe.clone())]).await?;
    assert_eq!(subject.found(&gallery, &probe).await?, [], "a late writer brought the face back");
    subject.write(&gallery, &[live(face, 6, probe.clone())]).await?;
    assert_eq!(subject.found(&gallery, &probe).await?, [face]);
    Ok(())
}

/// Every field of a point is kept, the template bit by bit.
pub async fn points_come_back_as_they_were(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let mut plain = live_until(subject.face(), 1, blend(&[(3, 0.1), (77, -0.7)]), NOW.plus(HOUR));
    if let PointBody::Live(live) = &mut plain.body {
        live.shown.external_image_id = None;
        live.shown.user = None;
    }
    let points = [
        live(subject.face(), 1_800_000_000_001, blend(&[(1, 0.3), (2, 0.4)])),
        plain,
        erased(subject.face(), 7),
    ];
    subject.write(&gallery, &points).await?;
    for point in &points {
        assert_eq!(subject.stored(&gallery, point.face).await?.as_ref(), Some(point));
    }
    let faces: Vec<FaceId> = points.iter().map(|point| point.face).chain([subject.face()]).collect();
    assert_eq!(subject.index.get(&gallery, &faces).await?.len(), points.len(), "and none that is not there");
    assert_eq!(subject.index.get(&gallery, &[]).await?, []);
    Ok(())
}

/// In whatever order the versions of a point arrive, the highest stays (I5), and only a live one is found (I3).
pub async fn versions_only_rise(subject: &Subject) -> PortResult<()> {
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let (gallery, face) = (subject.gallery(), subject.face());
        let version_of = |version: u64| match version {
            2 => erased(face, 2),
            _ => live(face, version, along(version as usize)),
        };
        let mut highest = 0;
        for version in order {
            subject.write(&gallery, &[version_of(version)]).await?;
            highest = highest.max(version);
            let expected = version_of(highest);
            assert_eq!(subject.stored(&gallery, face).await?, Some(expected), "{order:?}: I5");
            let found = subject.found(&gallery, &along(1)).await?;
            assert_eq!(found.len(), usize::from(highest != 2), "{order:?} at version {highest}: I3");
            assert_eq!(subject.index.count(&gallery, LIVE).await?, u64::from(highest != 2), "{order:?}");
        }
    }
    let (gallery, face) = (subject.gallery(), subject.face());
    subject.write(&gallery, &[live(face, 5, along(1))]).await?;
    subject.write(&gallery, &[live(face, 5, along(2))]).await?;
    assert_eq!(
        subject.stored(&gallery, face).await?,
        Some(live(face, 5, along(1))),
        "the same version again"
    );
    Ok(())
}

/// One call may hold many points, of many versions, some of them twice, some older than what is there.
pub async fn a_batch_is_as_good_as_its_points_in_turn(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let faces = subject.faces(64);
    let before: Vec<Point> = faces.iter().map(|face| live(*face, 10, along(0))).collect();
    subject.write(&gallery, &before).await?;
    let mut batch = Vec::new();
    for (nth, face) in faces.iter().enumerate() {
        batch.push(live(*face, nth as u64, along(1)));
        batch.push(erased(*face, 2));
        batch.push(live(*face, nth as u64, along(2)));
    }
    subject.write(&gallery, &batch).await?;
    for (nth, face) in faces.iter().enumerate() {
        let expected = if nth > 10 { live(*face, nth as u64, along(1)) } else { before[nth].clone() };
        assert_eq!(subject.stored(&gallery, *face).await?, Some(expected), "point {nth}");
    }
    let many: Vec<Point> = subject.faces(2_500).into_iter().map(|face| live(face, 3, along(5))).collect();
    subject.write(&gallery, &many).await?;
    assert_eq!(subject.index.count(&gallery, LIVE).await?, 2_564);
    Ok(())
}

/// Writers that do not know of each other leave the highest version.
pub async fn the_highest_version_wins_a_race(subject: &Subject) -> PortResult<()> {
    let (gallery, faces) = (subject.gallery(), subject.faces(8));
    let mut writers = JoinSet::new();
    for version in 1..=WRITERS {
        let (index, gallery, faces) = (Arc::clone(&subject.index), gallery.clone(), faces.clone());
        writers.spawn(async move {
            for face in faces {
                let point =
                    if version % 2 == 0 { live(face, version, along(3)) } else { erased(face, version) };
                index.write(&gallery, &[point]).await?;
            }
            PortResult::Ok(())
        });
    }
    while let Some(outcome) = writers.join_next().await {
        outcome.unwrap_or_else(|error| unreachable!("a writer panicked: {error}"))?;
    }
    for face in &faces {
        assert_eq!(subject.stored(&gallery, *face).await?, Some(live(*face, WRITERS, along(3))), "I5");
    }
    assert_eq!(sorted(subject.found(&gallery, &along(3)).await?), sorted(faces));
    Ok(())
}

/// Nothing of one part shows in another, of the same tenant or not (I1).
pub async fn parts_do_not_touch_each_other(subject: &Subject) -> PortResult<()> {
    let ours = subject.gallery();
    let mut sibling = subject.gallery();
    sibling.part.tenant = ours.part.tenant;
    for other in [sibling, subject.gallery()] {
        let (face, gone) = (subject.face(), subject.face());
        subject.write(&ours, &[live(face, 2, along(4)), erased(gone, 2)]).await?;
        let (index, both) = (&subject.index, [face, gone]);
        assert_eq!(index.get(&other, &both).await?, [], "I1: get");
        let hits = index.search(search(&other, &along(4))).await?;
        assert_eq!(hits, Hits { candidates: Vec::new(), gallery_faces: 0 }, "I1: search");
        assert_eq!(index.scroll(&other, Listing::Everything, None, 10).await?, [], "I1: scroll");
        assert_eq!(index.count(&other, LIVE).await?, 0, "I1: count");
        let remove = both.map(|face| RemoveIf { face, version_max: Version::new(99) });
        index.remove(&other, &remove).await?;
        index.remove_part(&other).await?;
        assert_eq!(index.get(&ours, &both).await?.len(), 2, "I1: removal");
    }
    Ok(())
}

/// A write of a face that is another part's changes nothing, whatever its version.
pub async fn faces_of_another_part_are_left_alone(subject: &Subject) -> PortResult<()> {
    let (ours, other) = (subject.gallery(), subject.gallery());
    for mine in [live(subject.face(), 2, along(6)), erased(subject.face(), 2)] {
        subject.write(&ours, std::slice::from_ref(&mine)).await?;
        subject.write(&other, &[live(mine.face, 9, along(7))]).await?;
        subject.write(&other, &[erased(mine.face, 10)]).await?;
        assert_eq!(subject.stored(&ours, mine.face).await?.as_ref(), Some(&mine), "I1");
        assert_eq!(subject.stored(&other, mine.face).await?, None, "I1");
    }
    assert_eq!(subject.index.scroll(&other, Listing::Everything, None, 10).await?, [], "I1");
    Ok(())
}

/// What changed since it was seen stays.
pub async fn removal_keeps_its_condition(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let faces = subject.faces(4);
    let points =
        [live(faces[0], 5, along(0)), live(faces[1], 6, along(0)), erased(faces[2], 5), erased(faces[3], 6)];
    subject.write(&gallery, &points).await?;
    let absent = subject.face();
    let remove: Vec<RemoveIf> = faces
        .iter()
        .chain([&absent])
        .map(|face| RemoveIf { face: *face, version_max: Version::new(5) })
        .collect();
    subject.index.remove(&gallery, &remove).await?;
    subject.index.remove(&gallery, &[]).await?;
    let left = subject.index.scroll(&gallery, Listing::Everything, None, 10).await?;
    assert_eq!(
        left.iter().map(|point| point.face).collect::<Vec<_>>(),
        sorted(vec![faces[1], faces[3]]),
        "those that were seen are gone, the newer ones stay"
    );
    subject.write(&gallery, &[live(faces[2], 1, along(1))]).await?;
    assert_eq!(subject.found(&gallery, &along(1)).await?.len(), 2, "what is removed is forgotten");
    Ok(())
}

/// Removing a part leaves nothing of it, and everything of the others.
pub async fn a_part_goes_as_a_whole(subject: &Subject) -> PortResult<()> {
    let (gone, kept) = (subject.gallery(), subject.gallery());
    for gallery in [&gone, &kept] {
        let mut points: Vec<Point> =
            subject.faces(20).into_iter().map(|face| live(face, 1, along(0))).collect();
        points.push(erased(subject.face(), 1));
        subject.write(gallery, &points).await?;
    }
    subject.index.remove_part(&gone).await?;
    for (gallery, left) in [(&gone, 0), (&kept, 21)] {
        let points = subject.index.scroll(gallery, Listing::Everything, None, 100).await?;
        assert_eq!(points.len(), left);
        assert_eq!(subject.index.count(gallery, LIVE).await?, left.saturating_sub(1) as u64);
        let hits = subject.index.search(search(gallery, &along(0))).await?;
        assert_eq!(hits.candidates.len(), left.saturating_sub(1));
    }
    Ok(())
}

/// A placement goes when nothing of anybody is left in it; it can be made anew, for templates of another dimension too.
pub async fn only_an_empty_placement_is_dropped(subject: &Subject) -> PortResult<()> {
    let index = &subject.index;
    let name = format!("{}.dropped", subject.absent);
    let placement: Placement = name.parse().unwrap_or_else(|error| unreachable!("{error}"));
    let there = || Gallery { placement: placement.clone(), ..subject.gallery() };
    let (live_one, erased_one) = (there(), there());
    assert!(index.drop_placement(&placement).await?, "what does not exist is dropped");
    let face = subject.face();
    subject.write(&live_one, &[live(face, 1, along(0))]).await?;
    subject.write(&erased_one, &[erased(subject.face(), 1)]).await?;
    for left in [&live_one, &erased_one] {
        assert!(!index.drop_placement(&placement).await?, "something is left");
        assert!(!index.scroll(left, Listing::Everything, None, 1).await?.is_empty(), "and stays");
        index.remove_part(left).await?;
    }
    for _ in 0..2 {
        assert!(index.drop_placement(&placement).await?, "nothing is left");
    }
    assert_eq!(subject.stored(&live_one, face).await?, None);
    assert_eq!(index.count(&live_one, LIVE).await?, 0);
    let shorter = Template::normalised(vec![1.0; 64]).unwrap_or_else(|error| unreachable!("{error}"));
    subject.write(&live_one, &[live(face, 1, shorter.clone())]).await?;
    assert_eq!(subject.found(&live_one, &shorter).await?, [face], "it is made anew");
    index.remove_part(&live_one).await?;
    assert!(index.drop_placement(&placement).await?);
    Ok(())
}

/// A flush never promises more than what had returned when it was called.
pub async fn flush_covers_what_returned(subject: &Subject) -> PortResult<()> {
    subject.write(&subject.gallery(), &[live(subject.face(), 1, along(0))]).await?;
    let covered = subject.index.flush(NOW).await?;
    assert!(covered <= NOW, "{covered} was not yet");
    let losses = subject.index.losses();
    subject.index.begun_again(losses);
    subject.index.made_good(losses);
    assert!(subject.index.flush(NOW).await? >= covered, "what is durable stays durable");
    assert_eq!(subject.index.losses(), losses, "nothing was lost meanwhile");
    Ok(())
}

/// Templates of another dimension are another model's: neither written nor compared (I7).
pub async fn other_dimensions_are_refused(subject: &Subject) -> PortResult<()> {
    let (gallery, face) = (subject.gallery(), subject.face());
    subject.write(&gallery, &[live(face, 1, along(0))]).await?;
    let short = Template::normalised(vec![1.0; 64]).unwrap_or_else(|error| unreachable!("{error}"));
    let kind = |error: crate::error::PortError| error.kind();
    let written = subject.write(&gallery, &[live(subject.face(), 1, short.clone())]).await;
    assert_eq!(written.map_err(kind), Err(PortErrorKind::Invalid), "I7: write");
    let searched = subject.index.search(search(&gallery, &short)).await;
    assert_eq!(searched.map_err(kind).err(), Some(PortErrorKind::Invalid), "I7: search");
    assert_eq!(subject.index.count(&gallery, LIVE).await?, 1);
    Ok(())
}
