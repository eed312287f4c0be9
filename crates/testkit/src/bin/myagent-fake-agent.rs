//! The fake agent as a program; see `myagent_testkit::fake_agent`.

fn main() -> std::process::ExitCode {
    myagent_testkit::fake_agent::main(std::env::args().skip(1))
}
