//! Arguments of the commands that are the manager, and what they come down to.

use clap::Args;
use myagent_core::request::ListenerKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// What a server command wants: which listeners, with which settings over those of `config.toml`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Foreground {
    /// The command's name, for messages and for the owner of its listeners.
    pub(crate) command: &'static str,
    /// Address of the HTTP API, if it is wanted.
    pub(crate) api: Option<SocketAddr>,
    /// Address of the proxy, if it is wanted.
    pub(crate) proxy: Option<SocketAddr>,
    /// Seconds between two looks over the whole fleet.
    pub(crate) interval: Option<f64>,
    /// Listen on addresses that others can reach.
    pub(crate) insecure: bool,
    /// Kinds of sources that may be registered.
    pub(crate) allow_sources: Option<Vec<String>>,
}

/// Where to listen.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = address)]
    host: IpAddr,
    /// Listen on --host even if others can reach it: whoever reaches the API may run programs as you.
    #[arg(long)]
    insecure: bool,
}

/// What all of them take.
#[derive(Clone, Debug, Args)]
pub(crate) struct CommonArgs {
    /// Kinds of sources that may be registered.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', value_parser = ["file", "command", "external"])]
    allow_sources: Option<Vec<String>>,
}

/// Arguments of `daemon`.
#[derive(Debug, Args)]
pub(crate) struct DaemonArgs {
    /// Seconds between two looks over the whole fleet, besides acting on what happens [default: 5].
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    interval: Option<f64>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `api`.
#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Port of the HTTP API; 0 for any free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Open the proxy too, on this port.
    #[arg(long, value_name = "PORT")]
    proxy_port: Option<u16>,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Port of the proxy; 0 for any free one.
    #[arg(long, default_value_t = 9090)]
    port: u16,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Port of the HTTP API; 0 for any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    api_port: u16,
    /// Port of the proxy; 0 for any free one.
    #[arg(long, value_name = "PORT", default_value_t = 9090)]
    proxy_port: u16,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Arguments of `shutdown`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ShutdownArgs {
    /// Let the instances go on without a manager.
    #[arg(long)]
    pub(crate) keep_services: bool,
}

/// Arguments of `upgrade`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The program that takes over [default: the one that runs this command].
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
}

impl From<DaemonArgs> for Foreground {
    fn from(args: DaemonArgs) -> Self {
        Self { interval: args.interval, ..Self::new("daemon", false, args.common) }
    }
}

impl From<ApiArgs> for Foreground {
    fn from(args: ApiArgs) -> Self {
        let at = |port| SocketAddr::new(args.listen.host, port);
        Self {
            api: Some(at(args.port)),
            proxy: args.proxy_port.map(at),
            ..Self::new("api", args.listen.insecure, args.common)
        }
    }
}

impl From<ProxyArgs> for Foreground {
    fn from(args: ProxyArgs) -> Self {
        Self {
            proxy: Some(SocketAddr::new(args.listen.host, args.port)),
            ..Self::new("proxy", args.listen.insecure, args.common)
        }
    }
}

impl From<UpArgs> for Foreground {
    fn from(args: UpArgs) -> Self {
        let at = |port| Some(SocketAddr::new(args.listen.host, port));
        Self {
            api: at(args.api_port),
            proxy: at(args.proxy_port),
            ..Self::new("up", args.listen.insecure, args.common)
        }
    }
}

impl Foreground {
    /// The listeners that are wanted.
    pub(crate) fn listeners(&self) -> impl Iterator<Item = (ListenerKind, SocketAddr)> {
        let listener = |kind, address: Option<SocketAddr>| address.map(|address| (kind, address));
        listener(ListenerKind::Api, self.api).into_iter().chain(listener(ListenerKind::Proxy, self.proxy))
    }

    fn new(command: &'static str, insecure: bool, common: CommonArgs) -> Self {
        let CommonArgs { allow_sources } = common;
        Self { command, api: None, proxy: None, interval: None, insecure, allow_sources }
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse().map_err(|_| "must be an IP address or localhost".to_owned())
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be seconds from 0.1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn foreground(line: &str) -> Option<Foreground> {
        Some(match Cli::try_parse_from(line.split(' ')).ok()?.command {
            Command::Daemon(args) => args.into(),
            Command::Api(args) => args.into(),
            Command::Proxy(args) => args.into(),
            Command::Up(args) => args.into(),
            _ => return None,
        })
    }

    #[test]
    fn each_command_opens_its_listeners() {
        let listeners = |line| foreground(line).map(|wanted| (wanted.api, wanted.proxy));
        let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(listeners("m daemon"), Some((None, None)));
        assert_eq!(listeners("m api"), Some((at("127.0.0.1:8080"), None)));
        assert_eq!(listeners("m api --port 1 --proxy-port 2"), Some((at("127.0.0.1:1"), at("127.0.0.1:2"))));
        assert_eq!(listeners("m proxy --host ::1"), Some((None, at("[::1]:9090"))));
        assert_eq!(listeners("m up --host localhost"), Some((at("127.0.0.1:8080"), at("127.0.0.1:9090"))));
        assert_eq!(foreground("m daemon --interval 2.5").unwrap().interval, Some(2.5));
        assert_eq!(foreground("m up --allow-sources file,external").unwrap().allow_sources.unwrap().len(), 2);
        for line in [
            "m daemon --interval 0",
            "m daemon --insecure",
            "m api --port 70000",
            "m up --host nowhere",
            "m up --allow-sources x",
        ] {
            assert_eq!(foreground(line), None, "{line}");
        }
    }
}
