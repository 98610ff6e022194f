"""The smallest operator on this engine: each Namespace labelled `greet=<name>` gets a ConfigMap that greets that name.

$ KUBECONFIG=… python examples/greeter.py
"""

import os
import random
import signal
import threading
from dataclasses import dataclass

import structlog

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NAMESPACES, Key
from dpunetop.kube.meta import labels_of, name_of, new_object
from dpunetop.kube.plan import Apply, Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.controller import Controller
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import DynamicWatches

GREETINGS = Selection(CONFIGMAPS, field_selector="metadata.name=greeting")


@dataclass
class Greeter:
    """Reads one Namespace and applies its ConfigMap; a change of anything that it read enqueues it again."""

    executor: Executor
    readings: DynamicWatches

    def reconcile(self, key: Key, stop: Stop) -> None:
        with self.readings.reading(key) as reader:
            name = labels_of(reader.get(INFRA, Selection(NAMESPACES), "", key.name) or {}).get("greet")
            live = reader.get(INFRA, GREETINGS, key.name, "greeting")
        if name:
            desired = new_object(CONFIGMAPS, key.name, "greeting", data={"hello": name})
            self.executor.execute(Plan((Apply(INFRA, CONFIGMAPS, desired, live, "greeter"),)), stop)


clock, metrics, clusters = RealClock(), Metrics(), Clusters()
connection = infra_connection(os.environ.get("KUBECONFIG"))
stop, told = Stop(clock), metrics.client(connection.url)
transport = Transport(connection, Stop(clock), user_agent="greeter", metrics=told, clock=clock)
client = Client(transport, clock=clock, metrics=told, name=INFRA)
cluster = Cluster(INFRA, client, clock=clock, metrics=metrics, random=random.random, stop=transport.stop)
recorder = EventRecorder(lambda _: client, "greeter", clock, instance="greeter")
executor = Executor(lambda _: client, OpenGate(), recorder, clock)
greeter = Greeter(executor, DynamicWatches(clusters, lambda key: controller.queue.add(key)))
log = structlog.get_logger()
controller: Controller = Controller("greeter", greeter, clock=clock, metrics=metrics, workers=4, logger=log)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop.set).start())
namespaces = cluster.informer(Selection(NAMESPACES))
namespaces.add_handler(lambda each: controller.queue.add(Key(INFRA, "", name_of(each.new or each.old or {}))))
clusters.engage(cluster)
controller.run(stop)
clusters.disengage(INFRA)
