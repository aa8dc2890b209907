//! Cases about reading: scores, thresholds, expiry, listings.

use vidimus_domain::point::{Gallery, Point, PointBody};
use vidimus_domain::retention::Horizon;
use vidimus_domain::{FaceId, Template, UnixMillis};

use super::{
    HOUR, LIVE, NOW, Subject, along, blend, erased, faces_of, listed, live, live_since, live_until, search,
    sorted,
};
use crate::error::PortResult;
use crate::face_index::{IndexSearch, ListedPoint, Listing, StoredSearch};

/// Scores are the cosines of the templates, best first, with what is shown of each face.
pub async fn scores_are_exact_and_in_order(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let points: Vec<Point> = (0..300_usize)
        .map(|nth| {
            let spread = [(nth % 97, 0.9), ((7 * nth + 1) % 128, -0.4), (0, 0.003 * nth as f32)];
            live(subject.face(), nth as u64, blend(&spread))
        })
        .collect();
    subject.write(&gallery, &points).await?;
    let probe = blend(&[(0, 0.5), (1, 0.3), (8, -0.2)]);
    let mut expected: Vec<f32> = points.iter().filter_map(|point| cosine(&probe, point)).collect();
    expected.sort_by(|left, right| right.total_cmp(left));

    let hits = subject.index.search(IndexSearch { limit: 300, ..search(&gallery, &probe) }).await?;
    assert_eq!((hits.candidates.len(), hits.gallery_faces), (300, 300));
    for (candidate, cosine) in hits.candidates.iter().zip(&expected) {
        assert!((candidate.cosine - cosine).abs() < 1e-5, "{} for {cosine}", candidate.cosine);
    }
    assert!(hits.candidates.is_sorted_by(|left, right| left.cosine >= right.cosine), "I6: best first");
    for candidate in &hits.candidates {
        let point = points.iter().find(|point| point.face == candidate.face);
        let point = point.unwrap_or_else(|| unreachable!("a face of the part"));
        let own = cosine(&probe, point).unwrap_or_default();
        assert!((candidate.cosine - own).abs() < 1e-5, "the score is another face's");
        assert_eq!(Some(&candidate.shown), listed(point).shown.as_ref());
    }
    Ok(())
}

fn cosine(probe: &Template, point: &Point) -> Option<f32> {
    match &point.body {
        PointBody::Live(live) => Some(probe.cosine(&live.template)),
        PointBody::Erased { .. } => None,
    }
}

/// The threshold is among what is found, the limit is kept, the face that is left out is not there (I6).
pub async fn thresholds_and_limits_hold(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    // Cosines of exactly 1, 0.5 and 0 with the first axis.
    let half = blend(&[(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)]);
    let faces = subject.faces(3);
    let templates = [along(0), half, along(9)];
    let points: Vec<Point> =
        faces.iter().zip(templates).map(|(face, template)| live(*face, 1, template)).collect();
    subject.write(&gallery, &points).await?;
    let ask = |cosine_min: f32, limit: u32, without: Option<FaceId>| {
        subject.index.search(IndexSearch { cosine_min, limit, without, ..search(&gallery, &along(0)) })
    };
    for (cosine_min, expected) in
        [(-1.0, 3), (0.0, 3), (0.1, 2), (0.5, 2), (0.500_001, 1), (1.0, 1), (1.1, 0)]
    {
        assert_eq!(faces_of(&ask(cosine_min, 10, None).await?), faces[..expected], "I6: at {cosine_min}");
    }
    for limit in 0..5 {
        let hits = ask(-1.0, limit, None).await?;
        assert_eq!(faces_of(&hits), faces[..(limit as usize).min(3)], "I6: limit {limit}");
        assert_eq!(hits.gallery_faces, 3);
    }
    assert_eq!(faces_of(&ask(0.5, 1, Some(faces[0])).await?), [faces[1]], "the limit is of the others");
    assert_eq!(faces_of(&ask(-1.0, 10, Some(subject.face())).await?), faces);
    Ok(())
}

/// A search by a stored face is one by its template, without itself; and none by a face that is not there, is another part's, erased or
/// expired.
pub async fn stored_faces_are_searched_by(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let [near, probe, far, gone] = subject.faces(4)[..] else { return Ok(()) };
    let points = [
        live(near, 1, blend(&[(0, 1.0), (1, 0.2)])),
        live(probe, 1, along(0)),
        live(far, 1, along(3)),
        erased(gone, 1),
    ];
    subject.write(&gallery, &points).await?;
    let ask = |gallery: &Gallery, face, now| StoredSearch {
        gallery: gallery.clone(),
        face,
        limit: 10,
        cosine_min: 0.5,
        horizon: Horizon { now: UnixMillis::new(now), faces_cutoff: None },
    };
    let hits = subject.index.search_stored(ask(&gallery, probe, 0)).await?;
    assert_eq!(hits.map(|hits| (faces_of(&hits), hits.gallery_faces)), Some((vec![near], 3)));
    let other = Gallery { part: subject.gallery().part, ..gallery.clone() };
    for (gallery, face, now) in [
        (&gallery, subject.face(), 0),
        (&other, probe, 0),
        (&gallery, gone, 0),
        (&gallery, probe, UnixMillis::NEVER.get()),
    ] {
        let hits = subject.index.search_stored(ask(gallery, face, now)).await?;
        assert_eq!(hits, None, "I1, I3: {face} of {gallery:?} at {now}");
    }
    Ok(())
}

/// A search for faces that have a user finds all of them and no other, also after a face has got one or lost it.
pub async fn faces_with_a_user_are_found_among_others(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let faces = subject.faces(200);
    let has_user = |nth: usize, version: u64| (nth as u64 + version).is_multiple_of(20);
    let point = |(nth, face): (usize, &FaceId), version: u64| {
        // The nearer to the probe, the later: those with a user lie among all the others.
        let mut point = live(*face, version, blend(&[(0, 1.0), (1 + nth % 100, 0.01 * nth as f32)]));
        if let PointBody::Live(live) = &mut point.body
            && !has_user(nth, version)
        {
            live.shown.user = None;
        }
        point
    };
    for version in [1, 2] {
        let points: Vec<Point> = faces.iter().enumerate().map(|face| point(face, version)).collect();
        subject.write(&gallery, &points).await?;
        let with_user = |nth: &usize| has_user(*nth, version);
        let expected: Vec<FaceId> = (0..faces.len()).filter(with_user).map(|nth| faces[nth]).collect();
        let search = IndexSearch { with_user_only: true, limit: 50, ..search(&gallery, &along(0)) };
        let hits = subject.index.search(search.clone()).await?;
        assert_eq!((faces_of(&hits), hits.gallery_faces), (expected.clone(), 10), "version {version}");
        assert!(hits.candidates.iter().all(|candidate| candidate.shown.user.is_some()));
        let few = IndexSearch { limit: 3, without: Some(expected[0]), ..search };
        assert_eq!(faces_of(&subject.index.search(few).await?), expected[1..4]);
    }
    let all = IndexSearch { limit: 500, ..search(&gallery, &along(0)) };
    assert_eq!(subject.index.search(all).await?.candidates.len(), faces.len());
    Ok(())
}

/// At the time of its expiry a face matches no more, a millisecond before it does.
pub async fn expiry_holds_to_the_millisecond(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let (face, forever) = (subject.face(), subject.face());
    let expires_at = UnixMillis::new(NOW.get() + 1);
    let mortal = live_until(face, 1, along(0), expires_at);
    subject.write(&gallery, &[mortal.clone(), live(forever, 1, along(1))]).await?;
    for (now, faces) in [(NOW, sorted(vec![face, forever])), (expires_at, vec![forever])] {
        shows(subject, &gallery, Horizon::without_rule(now), &faces).await?;
    }
    let all = subject.index.scroll(&gallery, Listing::Everything, None, 10).await?;
    assert_eq!(all.len(), 2, "expired points are there until they are removed");
    assert_eq!(
        subject.stored(&gallery, face).await?,
        Some(mortal),
        "with their expiry, for the caller to see"
    );
    Ok(())
}

/// Search, listing and count show these faces and no others (I3).
async fn shows(subject: &Subject, gallery: &Gallery, horizon: Horizon, faces: &[FaceId]) -> PortResult<()> {
    let hits = subject.index.search(IndexSearch { horizon, ..search(gallery, &along(0)) }).await?;
    assert_eq!(sorted(faces_of(&hits)), faces, "I3: search at {horizon:?}");
    let listing = Listing::LiveAt(horizon);
    let page = subject.index.scroll(gallery, listing, None, 10).await?;
    assert_eq!(page.iter().map(|point| point.face).collect::<Vec<_>>(), faces, "I3: listing at {horizon:?}");
    assert_eq!(subject.index.count(gallery, listing).await?, faces.len() as u64, "I3: count at {horizon:?}");
    Ok(())
}

/// A face that was enrolled at the cutoff or before it has expired, whatever its own expiry says.
pub async fn age_expires_to_the_millisecond(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let (old, young) = (subject.face(), subject.face());
    let enrolled_at = NOW.minus(HOUR);
    let points =
        [live_since(old, 1, along(0), enrolled_at), live(young, 1, along(1)), erased(subject.face(), 1)];
    subject.write(&gallery, &points).await?;
    let at = |cutoff: UnixMillis| Horizon { now: NOW, faces_cutoff: Some(cutoff) };
    let before = UnixMillis::new(enrolled_at.get() - 1);
    shows(subject, &gallery, at(before), &sorted(vec![old, young])).await?;
    shows(subject, &gallery, at(enrolled_at), &[young]).await?;
    shows(subject, &gallery, at(NOW), &[]).await
}

/// However many expired faces are nearer than those that can match: as many of these are found as are asked for.
pub async fn expired_faces_take_no_place(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let faces = subject.faces(12);
    // The later, the farther from the probe; the first four have expired for their own expiry, the next four for their age.
    let place = |nth: usize| blend(&[(0, 1.0), (1, 0.1 * nth as f32)]);
    let point = |(nth, face): (usize, &FaceId)| match nth {
        0..4 => live_until(*face, 1, place(nth), NOW),
        4..8 => live_since(*face, 1, place(nth), NOW.minus(HOUR)),
        _ => live(*face, 1, place(nth)),
    };
    let points: Vec<Point> = faces.iter().enumerate().map(point).collect();
    subject.write(&gallery, &points).await?;
    let horizon = Horizon { now: NOW, faces_cutoff: Some(NOW.minus(HOUR)) };
    for limit in 1..6 {
        for without in [None, Some(faces[9]), Some(faces[0])] {
            let asked = IndexSearch { horizon, limit, without, ..search(&gallery, &along(0)) };
            let expected = faces[8..].iter().copied().filter(|face| Some(*face) != without);
            let expected: Vec<FaceId> = expected.take(limit as usize).collect();
            assert_eq!(
                faces_of(&subject.index.search(asked).await?),
                expected,
                "{limit} without {without:?}"
            );
        }
    }
    Ok(())
}

/// What has expired, for its own expiry or its age, is listed by pages and counted until it is erased.
pub async fn what_has_expired_is_listed_in_batches(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let faces = subject.faces(9);
    let point = |(nth, face): (usize, &FaceId)| match nth % 3 {
        0 => live_until(*face, 1, along(nth), NOW),
        1 => live_since(*face, 1, along(nth), NOW.minus(HOUR)),
        _ => live(*face, 1, along(nth)),
    };
    let points: Vec<Point> = faces.iter().enumerate().map(point).collect();
    subject.write(&gallery, &points).await?;
    subject.write(&gallery, &[erased(subject.face(), 1), erased(faces[0], 2)]).await?;
    let expected = |aged: bool| {
        let expired =
            faces.iter().enumerate().skip(1).filter(|(nth, _)| nth % 3 == 0 || (aged && nth % 3 == 1));
        sorted(expired.map(|(_, face)| *face).collect())
    };
    for cutoff in [None, Some(NOW.minus(HOUR))] {
        let listing = Listing::ExpiredAt(Horizon { now: NOW, faces_cutoff: cutoff });
        for limit in [1, 2, 100] {
            let walked = walk(subject, &gallery, listing, limit).await?;
            let walked: Vec<FaceId> = walked.iter().map(|point| point.face).collect();
            assert_eq!(walked, expected(cutoff.is_some()), "expired by {cutoff:?}, pages of {limit}");
        }
        assert_eq!(subject.index.count(&gallery, listing).await?, expected(cutoff.is_some()).len() as u64);
    }
    Ok(())
}

/// Pages follow each other in the order of ids and miss nothing, with erased points and without.
pub async fn listings_page_in_order(subject: &Subject) -> PortResult<()> {
    let gallery = subject.gallery();
    let mut points: Vec<Point> = (0..50)
        .map(|nth| match nth % 3 {
            0 => erased(subject.face(), nth + 1),
            _ => live(subject.face(), nth + 1, along(nth as usize)),
        })
        .collect();
    subject.write(&gallery, &points).await?;
    points.sort_by_key(|point| point.face);
    let everything: Vec<ListedPoint> = points.iter().map(listed).collect();
    let live: Vec<ListedPoint> =
        everything.iter().filter(|point| point.erased_at.is_none()).cloned().collect();
    for (listing, expected) in [(Listing::Everything, everything), (LIVE, live)] {
        for limit in [1, 7, expected.len(), 1_000] {
            assert_eq!(walk(subject, &gallery, listing, limit).await?, expected, "pages of {limit}");
        }
    }
    let last = FaceId::from_bytes(&[0xff; 16]).unwrap_or_else(|error| unreachable!("{error}"));
    assert_eq!(subject.index.scroll(&gallery, Listing::Everything, Some(last), 10).await?, []);
    assert_eq!(subject.index.scroll(&gallery, Listing::Everything, None, 0).await?, []);
    Ok(())
}

async fn walk(
    subject: &Subject,
    gallery: &Gallery,
    listing: Listing,
    limit: usize,
) -> PortResult<Vec<ListedPoint>> {
    let mut walked: Vec<ListedPoint> = Vec::new();
    loop {
        let after = walked.last().map(|point| point.face);
        let page = subject.index.scroll(gallery, listing, after, limit).await?;
        let is_last = page.len() < limit;
        assert!(page.len() <= limit);
        walked.extend(page);
        if is_last {
            return Ok(walked);
        }
    }
}
