//! The port's suite.

use std::sync::Arc;

use anyhow::Result;
use vidimus_ports::FaceIndex;
use vidimus_ports::conformance::face_index::{Subject, conforms};
use vidimus_ports::random::SystemRandom;

use crate::server::Target;

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() -> Result<()> {
    let target = Target::start().await?;
    let index = target.index().await?;
    let subject = Subject {
        index: Arc::clone(&index) as Arc<dyn FaceIndex>,
        random: Box::new(SystemRandom),
        placement: "sface-2021dec".parse()?,
        // As bad a name as a placement may have.
        absent: "..".parse()?,
    };
    conforms(&subject).await?;
    // What is there already may not matter.
    conforms(&Subject { absent: "another".parse()?, random: Box::new(SystemRandom), ..subject }).await?;
    index.check().await?;
    target.end().await
}
