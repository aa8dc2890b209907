//! Whether a configuration fits together: everything that can be known before anything is opened or bound.

use anyhow::{Context, bail};

use super::{Config, Peer};
use crate::roles::{Role, Store};

impl Config {
    /// Checks all that can be checked without opening anything.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        let roles = self.roles();
        if roles.is_empty() {
            bail!("this process has no role: name one in `roles` or --roles");
        }
        self.face_models()?;
        self.check_calls(&roles)?;
        self.check_stores(&roles)?;
        if roles.contains(&Role::Embedding) {
            self.models_directory()?;
        }
        if roles.contains(&Role::Gateway) {
            self.imports_place()?;
        }
        self.gateway.check().map_err(|wrong| anyhow::anyhow!("gateway: {wrong}"))?;
        self.transport.check().map_err(|wrong| anyhow::anyhow!("transport: {wrong}"))?;
        self.traces.check().context("traces")?;
        self.s3.check().context("s3")?;
        self.kafka.check().context("kafka")?;
        self.qdrant.check().context("qdrant")?;
        if self.storage.log_partitions == 0 {
            bail!("storage.log_partitions must be at least 1");
        }
        Ok(())
    }

    /// Whoever is called is there.
    fn check_calls(&self, roles: &[Role]) -> anyhow::Result<()> {
        for role in roles {
            for callee in role.calls() {
                let setting = Self::peer_setting(*callee);
                match self.peer(*callee) {
                    Peer::Local if !roles.contains(callee) => bail!(
                        "the {role} role calls {callee}, which is not in this process: \
                         set {setting} = \"http://HOST:7602\", or add {callee} to the roles"
                    ),
                    Peer::Elsewhere(addresses) if addresses.over_tls() != self.transport.tls.is_some() => {
                        bail!(
                            "{setting} = {:?}: it must be https:// exactly where transport.tls is set",
                            addresses.to_string()
                        )
                    }
                    Peer::Local | Peer::Elsewhere(_) => {}
                }
            }
        }
        Ok(())
    }

    /// A store that is one process's alone is that of all roles that use it.
    fn check_stores(&self, roles: &[Role]) -> anyhow::Result<()> {
        for store in Store::ALL {
            let is_used = roles.iter().any(|role| role.stores().contains(&store));
            if !is_used {
                continue;
            }
            self.check_place(store)?;
            if !self.is_embedded(store)? {
                continue;
            }
            let absent =
                Role::ALL.iter().filter(|role| role.stores().contains(&store) && !roles.contains(role));
            let absent: Vec<_> = absent.map(ToString::to_string).collect();
            if !absent.is_empty() {
                bail!(
                    "{store} in a directory is one process's alone, but other roles use it too: \
                     run {} in this process, or set `{store}` to {}",
                    absent.join(", "),
                    store.shared_scheme()
                );
            }
        }
        let guarded = self.is_used_embedded(Store::Blobs)? || self.is_used_embedded(Store::Log)?;
        if self.is_used_embedded(Store::Index)? && !guarded {
            bail!("index = edge:// has no lock of its own: it needs blobs or log in a directory beside it");
        }
        Ok(())
    }

    /// Whether this process has workers of the bulk lane: beside the encoder where processes share the stores; where they lie in
    /// a directory, beside ingestion, which has it.
    pub(crate) fn has_workers(&self) -> anyhow::Result<bool> {
        let is_shared = !self.is_embedded(Store::Blobs)? && !self.is_embedded(Store::Log)?;
        Ok(self.has(if is_shared { Role::Embedding } else { Role::Ingestion }))
    }

    /// Whether this process has the store, alone.
    pub(crate) fn is_used_embedded(&self, store: Store) -> anyhow::Result<bool> {
        let is_used = self.roles().iter().any(|role| role.stores().contains(&store));
        Ok(is_used && self.is_embedded(store)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn config(roles: &[Role]) -> Config {
        Config { data: Some(PathBuf::from("/data")), roles: roles.to_vec(), ..Config::default() }
    }

    fn elsewhere() -> Peer {
        Peer::try_from("http://host:7602".to_owned()).unwrap()
    }

    fn refusal(config: &Config) -> String {
        format!("{:#}", config.check().unwrap_err())
    }

    #[test]
    fn everything_in_one_process_needs_a_directory_alone() {
        config(&[]).check().unwrap();
        config(&Role::ALL).check().unwrap();
        assert!(refusal(&Config { data: None, ..config(&[]) }).contains("data directory"));
    }

    #[test]
    fn embedding_elsewhere_leaves_the_rest_in_one_process() {
        let rest = Config { embedding: elsewhere(), ..config(&[]) };
        rest.check().unwrap();
        assert!(!rest.has(Role::Embedding) && !rest.is_called());
        assert!(rest.has_workers().unwrap(), "they are where the directory is");
        let alone = Config {
            models: crate::config::Models { directory: Some("/m".into()), ..Default::default() },
            data: None,
            ..config(&[Role::Embedding])
        };
        alone.check().unwrap();
        assert!(alone.is_called() && !alone.has_workers().unwrap());
        assert!(!config(&[]).is_called());
    }

    #[test]
    fn a_role_without_those_that_it_calls_is_refused() {
        let gateway = refusal(&config(&[Role::Gateway]));
        assert!(
            gateway.contains("gateway role calls ingestion") && gateway.contains("peers.ingestion"),
            "{gateway}"
        );
        let without_embedding: Vec<_> =
            Role::ALL.into_iter().filter(|role| *role != Role::Embedding).collect();
        assert!(refusal(&config(&without_embedding)).contains("calls embedding"));
    }

    #[test]
    fn a_directory_is_one_processs_alone() {
        let query = Config { embedding: elsewhere(), ..config(&[Role::Query]) };
        let query =
            Config { peers: crate::config::Peers { indexing: elsewhere(), ..Default::default() }, ..query };
        let refused = refusal(&query);
        assert!(refused.contains("one process's alone") && refused.contains("ledger"), "{refused}");
    }

    #[test]
    fn certificates_and_addresses_fit() {
        let secure = Peer::try_from("https://host:7602".to_owned()).unwrap();
        let refused = refusal(&Config { embedding: secure, ..config(&[]) });
        assert!(refused.contains("transport.tls"), "{refused}");
    }
}
