//! What each level of the quality filter refuses, and what it leaves to be missed.

use serde::Serialize;
use vidimus_domain::Template;
use vidimus_domain::quality::{QualityFilter, Reason};

use super::intervals::{Rate, Tally};

/// A face of a photo: its template, and by filter ([`QualityFilter::ALL`]) why it is refused.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The template.
    pub template: Template,
    /// The reasons, by filter.
    pub refusals: [Vec<Reason>; 4],
}

/// What a filter does.
#[derive(Debug, Serialize)]
pub struct AtFilter {
    /// Its name.
    pub filter: &'static str,
    /// Faces refused, of all.
    pub refused: Rate,
    /// Faces by reason; a face may have several.
    pub reasons: Vec<(&'static str, usize)>,
    /// Pairs of one person's faces that are left.
    pub mated_pairs: u64,
    /// Of these, the share below the threshold.
    pub false_non_match_rate: Rate,
}

/// Figures of all filters at one threshold.
#[derive(Debug, Serialize)]
pub struct Quality {
    /// The threshold: the same for all, or a filter that leaves easier strangers would seem better than it is.
    pub cosine: f32,
    /// By filter, from the one that refuses nothing.
    pub filters: Vec<AtFilter>,
}

/// Refuses and compares what is left, by filter.
#[must_use]
pub fn measure(people: &[Vec<Judged>], cosine: f32) -> Quality {
    let at = |(index, filter): (usize, &QualityFilter)| at_filter(people, (index, *filter), cosine);
    Quality { cosine, filters: QualityFilter::ALL.iter().enumerate().map(at).collect() }
}

fn at_filter(people: &[Vec<Judged>], (index, filter): (usize, QualityFilter), cosine: f32) -> AtFilter {
    let is_refused = |face: &&Judged| !face.refusals[index].is_empty();
    let refused = |faces: &Vec<Judged>| Tally {
        count: faces.iter().filter(is_refused).count() as u64,
        of: faces.len() as u64,
    };
    let missed: Vec<Tally> = people
        .iter()
        .map(|faces| {
            let left: Vec<&Judged> = faces.iter().filter(|face| !is_refused(face)).collect();
            missed_pairs(&left, cosine)
        })
        .filter(|tally| tally.of > 0)
        .collect();
    AtFilter {
        filter: filter.as_str(),
        refused: Rate::of_people(&people.iter().map(refused).collect::<Vec<_>>()),
        reasons: counted(people, index),
        mated_pairs: missed.iter().map(|tally| tally.of).sum(),
        false_non_match_rate: Rate::of_people(&missed),
    }
}

fn missed_pairs(faces: &[&Judged], cosine: f32) -> Tally {
    let pairs = faces.iter().enumerate().flat_map(|(index, face)| {
        faces[index + 1..].iter().map(|other| face.template.cosine(&other.template))
    });
    pairs.fold(Tally::default(), |tally, score| Tally {
        count: tally.count + u64::from(score < cosine),
        of: tally.of + 1,
    })
}

/// How many faces have each reason, in the order of the reasons.
fn counted(people: &[Vec<Judged>], index: usize) -> Vec<(&'static str, usize)> {
    let mut counts = std::collections::BTreeMap::<Reason, usize>::new();
    for reason in people.iter().flatten().flat_map(|face| &face.refusals[index]) {
        *counts.entry(*reason).or_default() += 1;
    }
    counts.into_iter().map(|(reason, count)| (reason.as_str(), count)).collect()
}
