//! Agent files that cannot be loaded, and what is said about them.

use crate::rig::{Rig, run};
use myagent_core::config::ServiceConfig;

fn check(source: &str, expected: &str) {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        rig.write(source);
        let found = match rig.start().await {
            Ok(ready) => format!("ready {}", ready.name),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{source:?}: {found:?}, expected {expected:?}");
        let ready = expected.starts_with("ready");
        assert_eq!(rig.host.is_ready(), ready);
        if !ready {
            assert_eq!(
                rig.worker_exit().await.code(),
                Some(if expected.starts_with("the worker ended") { 3 } else { 1 })
            );
        }
    });
}

#[test]
fn python_says_what_is_wrong() {
    check("x = 1\ny = (1))\n", "SyntaxError: unmatched ')' (test_agent.py, line 2)");
    check(
        "import no_such_module_anywhere\n",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere' (test_agent.py, line 1)",
    );
    check("\n\n1 / 0\n", "ZeroDivisionError: division by zero (test_agent.py, line 3)");
    check("import sys\nsys.exit('no key')\n", "SystemExit: no key (test_agent.py, line 2)");
    check("import os\nos._exit(3)\n", "the worker ended before it had loaded the agent file");
}

#[test]
fn a_file_without_an_agent_is_told_what_to_define() {
    check("x = 1\n", "no agent in it: define agent, create_agent() or agent_factory()");
    check(
        "class A:\n    pass\nagent = A()\n",
        "the agent has none of astream(message), stream(message), arun(message) and run(message)",
    );
    check(
        "def create_agent():\n    raise RuntimeError('no model')\n",
        "RuntimeError: no model (test_agent.py, line 2)",
    );
    check("def agent_factory():\n    return None\n", "the agent has none of");
}

#[test]
fn the_first_of_three_ways_counts() {
    let class =
        "class A:\n    def __init__(self, name='class'): self.name = name\n    def run(self, x): return x\n";
    let check = |rest: &str, expected: &str| check(&format!("{class}{rest}\n"), expected);
    check("agent = A('instance')", "ready instance");
    check("agent = A", "ready class");
    check("agent_factory = lambda: A('made')", "ready made");
    check("async def create_agent(): return A('awaited')", "ready awaited");
    check("agent = A('instance')\ncreate_agent = lambda: A('created')\nagent_factory = 1", "ready created");
    check("agent = A('instance')\nagent_factory = lambda: A('made')", "ready instance");
    check(
        "import asyncio\nasyncio.run(asyncio.sleep(0))\nagent = A('after a loop of its own')",
        "ready after",
    );
}

#[test]
fn files_beside_it_can_be_imported() {
    run(async {
        let mut rig = Rig::new(ServiceConfig::default()).await;
        std::fs::write(rig.agent.with_file_name("beside.py"), "import test_agent\nname = 'beside'\n")
            .unwrap();
        rig.write("import os, sys, beside\nclass A:\n    name = beside.name + ' ' + os.path.basename(os.getcwd()) + ' ' + __name__\n    def run(self, x): return x\nagent = A()\n");
        let ready = rig.start().await.unwrap();
        let folder = rig.agent.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert_eq!(ready.name, format!("beside {folder} test_agent"));
        assert!(ready.python.starts_with("3."));
        assert_eq!(ready.pid, rig.worker_pid());
    });
}
