use std::path::PathBuf;

use vidimus_onnx::Manifest;

use super::*;
use vidimus_domain::quality::Reason;

/// Person `index` of `people` in the plane, turned by `degrees`.
fn at(index: usize, people: usize, degrees: f32) -> Template {
    let angle = (index as f32 * 360.0 / people as f32 + degrees).to_radians();
    Template::normalised(vec![angle.cos(), angle.sin()]).unwrap()
}

/// A face that nothing is held against.
fn judged(template: Template) -> Judged {
    Judged { template, refusals: Default::default() }
}

/// Four people 90° apart. Two have three photos within 10°, two have one.
fn encoded() -> Encoded {
    let people = (0..4)
        .map(|index| {
            let photos = if index < 2 { 3 } else { 1 };
            (0..photos).map(|photo| judged(at(index, 4, photo as f32 * 5.0))).collect()
        })
        .collect();
    Encoded { people, without_face: vec![PathBuf::from("a.jpg")], unreadable: vec![PathBuf::from("b.jpg")] }
}

fn report() -> Report {
    let encoded = encoded();
    let photos = Photos::of(&encoded, 2.0, NonZeroUsize::MIN);
    figures(&encoded, &Manifest::builtin().unwrap(), photos).unwrap()
}

#[test]
fn everything_is_counted() {
    let report = report();
    assert_eq!((report.photos.people, report.photos.with_face), (4, 8));
    assert_eq!((report.photos.without_face, report.photos.unreadable), (1, 1));
    assert!((report.photos.photos_per_second - 5.0).abs() < 1e-9);
    assert_eq!((report.verification.mated_pairs, report.verification.non_mated_pairs), (6, 22));
    let searches = &report.identification;
    assert_eq!((searches.gallery, searches.mated_probes, searches.non_mated_probes), (2, 4, 2));
}

/// People 90° apart have cosines of 0.17 or less and never match; photos 10° apart have 0.98 and always do.
#[test]
fn people_far_apart_are_told_apart() {
    let report = report();
    for row in &report.verification.at_calibration {
        assert_eq!((row.observed.count, row.true_match_rate.count), (0, 6), "{row:?}");
    }
    for row in &report.verification.at_false_match_rate {
        assert_eq!(row.false_non_match_rate.count, 0);
        assert!((row.cosine - 10f32.to_radians().sin()).abs() < 1e-4, "{row:?}");
    }
    assert_eq!(report.identification.rank_one.rate, 1.0);
    for row in &report.identification.asked_for {
        assert_eq!((row.observed.count, row.false_negative_rate.count), (0, 0));
    }
}

#[test]
fn people_alike_are_not() {
    let alike = |photos: usize| vec![at(0, 1, 0.0); photos];
    let people = [alike(2), alike(2), alike(1)];
    let manifest = Manifest::builtin().unwrap();
    let compared = verification::measure(&people, &manifest.calibration.false_match_rates).unwrap();
    assert!(compared.at_calibration.iter().all(|row| row.observed.rate == 1.0));
    assert!(compared.at_false_match_rate.iter().all(|row| row.false_non_match_rate.rate == 1.0));
    let searched = identification::measure(&people, &manifest.calibration().unwrap()).unwrap();
    assert_eq!(searched.rank_one.rate, 0.0, "a tie is no hit");
    assert!(searched.asked_for.iter().all(|row| row.observed.rate == 1.0));
}

/// A face that matches nothing is refused by the two stricter filters: what they leave is never missed.
#[test]
fn what_a_filter_refuses_is_not_compared() {
    let mut people = encoded().people;
    let mut stray = judged(at(2, 4, 0.0));
    stray.refusals[2] = vec![Reason::LowSharpness];
    stray.refusals[3] = vec![Reason::LowSharpness, Reason::ExtremePose];
    people[0].push(stray);
    let quality = quality::measure(&people, 0.5);
    let figures = |index: usize| {
        let row = &quality.filters[index];
        (row.filter, row.refused.count, row.mated_pairs, row.false_non_match_rate.count)
    };
    assert_eq!(figures(0), ("NONE", 0, 9, 3));
    assert_eq!(figures(1), ("LOW", 0, 9, 3));
    assert_eq!(figures(2), ("MEDIUM", 1, 6, 0));
    assert_eq!(figures(3), ("HIGH", 1, 6, 0));
    assert_eq!(quality.filters[3].reasons, [("EXTREME_POSE", 1), ("LOW_SHARPNESS", 1)]);
}

#[test]
fn too_few_people_are_refused() {
    let manifest = Manifest::builtin().unwrap();
    for people in [vec![vec![at(0, 4, 0.0)]], vec![vec![at(0, 4, 0.0), at(0, 4, 1.0)]], vec![]] {
        let people =
            people.into_iter().map(|faces: Vec<_>| faces.into_iter().map(judged).collect()).collect();
        let encoded = Encoded { people, ..Encoded::default() };
        let photos = Photos::of(&encoded, 1.0, NonZeroUsize::MIN);
        assert!(figures(&encoded, &manifest, photos).is_err());
    }
}

#[test]
fn a_share_of_the_scores_reaches_the_threshold() {
    let falling = [0.9, 0.8, 0.7, 0.6, 0.5];
    for (share, reached) in [(0.0, 0), (0.2, 1), (0.39, 1), (0.4, 2), (1.0, 5)] {
        let cosine = verification::threshold(&falling, share);
        assert_eq!(falling.iter().filter(|score| **score >= cosine).count(), reached, "{share}");
    }
}

#[test]
fn the_table_and_the_json_say_the_same() {
    let report = report();
    let written = |json| {
        let mut output = Vec::new();
        report.write(json, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&written(true)).unwrap();
    assert_eq!(json["identification"]["rank_one"]["rate"], 1.0);
    assert_eq!(json["verification"]["at_calibration"][1]["calibrated"], 1e-4);
    let table = written(false);
    for line in
        ["sface-2021dec: 4 people, 8 photos with a face", "1:N, gallery of 2, 4 mated and 2 non-mated"]
    {
        assert!(table.contains(line), "{table}");
    }
}

#[test]
fn a_folder_is_read_in_the_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    for (person, photo) in [("b", "2.jpg"), ("b", "1.jpg"), ("a", "1.jpg"), ("a", ".hidden"), (".git", "x")] {
        std::fs::create_dir_all(dir.path().join(person)).unwrap();
        std::fs::write(dir.path().join(person).join(photo), b"").unwrap();
    }
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    std::fs::write(dir.path().join("README"), b"").unwrap();
    let dataset = Dataset::read(dir.path()).unwrap();
    let names: Vec<Vec<_>> = dataset
        .people
        .iter()
        .map(|person| person.photos.iter().map(|path| path.file_name().unwrap().to_owned()).collect())
        .collect();
    assert_eq!(names, [vec!["1.jpg"], vec!["1.jpg", "2.jpg"]]);
    assert!(Dataset::read(&dir.path().join("empty")).is_err());
    assert!(Dataset::read(&dir.path().join("nowhere")).is_err());
}
