//! Conditions.

use qdrant_client::qdrant as api;
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_edge as engine;
use qdrant_edge::external::ordered_float::OrderedFloat;
use serde_json::json;

use super::point::{json_path, point_id};
use super::refusal::{Answer, require_understood, unsupported, wrong};

/// Filters do not go deeper into one another.
const DEPTH_MAX: usize = 16;

/// Reads a filter.
///
/// # Errors
/// Where it is wrong, or asks for what is not supported.
pub fn filter(filter: api::Filter) -> Answer<engine::Filter> {
    at_depth(filter, 0)
}

fn at_depth(filter: api::Filter, depth: usize) -> Answer<engine::Filter> {
    if depth > DEPTH_MAX {
        return Err(wrong("filters lie too deep in one another"));
    }
    let api::Filter { should, must, must_not, min_should } = filter;
    let min_should = match min_should {
        None => None,
        Some(api::MinShould { min_count: 0, .. }) => return Err(wrong("min_count must be greater than 0")),
        Some(api::MinShould { conditions: some, min_count }) => Some(engine::MinShould {
            conditions: conditions(some, depth)?,
            min_count: usize::try_from(min_count).unwrap_or(usize::MAX),
        }),
    };
    Ok(engine::Filter {
        should: some_of(conditions(should, depth)?),
        must: some_of(conditions(must, depth)?),
        must_not: some_of(conditions(must_not, depth)?),
        min_should,
    })
}

fn some_of(conditions: Vec<engine::Condition>) -> Option<Vec<engine::Condition>> {
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

fn conditions(conditions: Vec<api::Condition>, depth: usize) -> Answer<Vec<engine::Condition>> {
    conditions.into_iter().map(|one| condition(one, depth)).collect()
}

fn condition(condition: api::Condition, depth: usize) -> Answer<engine::Condition> {
    match condition.condition_one_of {
        None => Err(wrong("a condition says nothing")),
        Some(ConditionOneOf::Field(field)) => Ok(engine::Condition::Field(field_condition(field)?)),
        Some(ConditionOneOf::HasId(ids)) => {
            let ids = ids.has_id.into_iter().map(point_id).collect::<Answer<Vec<_>>>()?;
            Ok(engine::Condition::HasId(ids.into_iter().collect()))
        }
        Some(ConditionOneOf::Filter(inner)) => Ok(engine::Condition::Filter(at_depth(inner, depth + 1)?)),
        Some(ConditionOneOf::HasVector(name)) => {
            Ok(engine::Condition::HasVector(engine::HasVectorCondition { has_vector: name.has_vector }))
        }
        Some(ConditionOneOf::IsEmpty(_)) => Err(unsupported("conditions on empty fields")),
        Some(ConditionOneOf::IsNull(_)) => Err(unsupported("conditions on null")),
        Some(ConditionOneOf::Nested(_)) => Err(unsupported("nested conditions")),
        Some(ConditionOneOf::Slice(_)) => Err(unsupported("slices")),
    }
}

fn field_condition(field: api::FieldCondition) -> Answer<engine::FieldCondition> {
    let understood = api::FieldCondition {
        key: field.key.clone(),
        r#match: field.r#match.clone(),
        range: field.range,
        ..api::FieldCondition::default()
    };
    require_understood(&field, &understood, "a field's condition")?;
    let key = json_path(&field.key)?;
    match (field.r#match, field.range) {
        (Some(wanted), None) => Ok(engine::FieldCondition::new_match(key, one_match(wanted)?)),
        (None, Some(api::Range { lt, gt, gte, lte })) => {
            let [lt, gt, gte, lte] = [lt, gt, gte, lte].map(|bound| bound.map(OrderedFloat));
            Ok(engine::FieldCondition::new_range(key, engine::Range { lt, gt, gte, lte }))
        }
        (Some(_), Some(_)) => Err(unsupported("a match and a range in one condition")),
        (None, None) => Err(wrong(format!("the condition on {} says nothing", field.key))),
    }
}

fn one_match(wanted: api::Match) -> Answer<engine::Match> {
    let value = |value: engine::ValueVariants| Ok(engine::Match::new_value(value));
    match wanted.match_value {
        None => Err(wrong("a match has no value")),
        Some(MatchValue::Keyword(text)) => value(engine::ValueVariants::String(text)),
        Some(MatchValue::Integer(number)) => value(engine::ValueVariants::Integer(number)),
        Some(MatchValue::Boolean(flag)) => value(engine::ValueVariants::Bool(flag)),
        Some(MatchValue::Keywords(texts)) => of_json(json!({ "any": texts.strings })),
        Some(MatchValue::Integers(numbers)) => of_json(json!({ "any": numbers.integers })),
        Some(MatchValue::ExceptKeywords(texts)) => of_json(json!({ "except": texts.strings })),
        Some(MatchValue::ExceptIntegers(numbers)) => of_json(json!({ "except": numbers.integers })),
        Some(_) => Err(unsupported("matches of text")),
    }
}

fn of_json(value: serde_json::Value) -> Answer<engine::Match> {
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn what_is_understood_is_taken_as_it_is() {
        let given = api::Filter {
            must: vec![api::Condition::matches("part", "a".to_owned())],
            should: vec![api::Condition::range(
                "version",
                api::Range { lt: Some(3.0), ..Default::default() },
            )],
            must_not: vec![api::Condition::has_id(["00000000-0000-0000-0000-000000000001"])],
            min_should: None,
        };
        let read = filter(given).unwrap();
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            json!({
                "must": [{ "key": "part", "match": { "value": "a" } }],
                "should": [{ "key": "version", "range": { "lt": 3.0, "gt": null, "gte": null, "lte": null } }],
                "must_not": [{ "has_id": ["00000000-0000-0000-0000-000000000001"] }],
            })
        );
    }

    #[test]
    fn what_is_not_is_refused() {
        let of = |condition: api::Condition| {
            filter(api::Filter::must([condition])).map_err(|status| status.code())
        };
        for (condition, code) in [
            (api::Condition { condition_one_of: None }, Code::InvalidArgument),
            (api::Condition::has_id(["no uuid"]), Code::InvalidArgument),
            (api::Condition::is_null("part"), Code::Unimplemented),
            (api::Condition::matches_text("part", "a"), Code::Unimplemented),
        ] {
            assert_eq!(of(condition.clone()).err(), Some(code), "{condition:?}");
        }
    }
}
