"""What every actor asks for, by what the cluster has; actors that are waited for, with a deadline."""

from __future__ import annotations

import os
import signal
import time

import pytest
import ray
import ray.exceptions

from gpnet_ray.actors import placement
from gpnet_ray.actors.labeller_crew import LabellerCrew
from gpnet_ray.actors.placement import (
    Ask,
    Node,
    asked_of,
    largest_share,
    reserved,
    wait_until_ready,
)
from gpnet_ray.actors.settings import ActorShare, ResourcesConfig
from gpnet_ray.errors import ClusterError


def asked(nodes: list[Node], *, labellers: int = 2, **resources: object) -> placement.Asked:
    return asked_of(ResourcesConfig.model_validate(resources), nodes, labellers=labellers)


def test_without_a_gpu_all_actors_share_the_cpus() -> None:
    small = asked([Node(2, 0)])
    # Five on two CPUs: the Gaussian process, two shards, two labellers.
    assert (small.n_shards, small.gp) == (2, Ask(0.4, 0))
    assert small.shard == small.labeller == small.featurizer == small.gp
    assert asked([Node(16, 0)]).gp == Ask(1, 0)
    # Four on one node, three on the other; 4/7 of a CPU would leave one without a place.
    assert asked([Node(2, 0)] * 2, labellers=4).gp.cpus == 0.5
    assert largest_share(7, [Node(2, 0)] * 2) == 0.5
    assert largest_share(3, [Node(16, 0)], at_most=4) == 4


def test_what_is_named_is_asked_for_and_the_others_share_the_rest() -> None:
    named = asked([Node(8, 0)], shards=3, labeller={"cpus": 3}, gp={"cpus": 0.5})
    assert (named.gp.cpus, named.labeller.cpus) == (0.5, 3)
    # 8 - 2 * 3 = 2 for the Gaussian process's place, which is the network's too, and three shards.
    assert named.shard.cpus == 0.5
    assert named.bundles() == [{"CPU": 0.5}] * 4


def test_one_gpu_is_shared_and_of_several_each_has_a_shard() -> None:
    one = asked([Node(8, 1)])
    assert one.n_shards == 1
    assert one.gp.gpus + one.shard.gpus == pytest.approx(1)
    assert one.labeller.gpus == 0
    three = asked([Node(8, 1)], shards=3)
    assert three.gp.gpus + 3 * three.shard.gpus <= 1
    for nodes in ([Node(16, 4)], [Node(8, 2), Node(8, 2)], [Node(4, 0), Node(4, 1), Node(8, 3)]):
        several = asked(nodes)
        assert several.n_shards == 4
        # No node can be taken for one that has room for more shards than GPUs.
        assert all((node.gpus + 1) * several.shard.gpus > node.gpus for node in nodes)
        assert several.shard.gpus + several.gp.gpus <= 1
    two_each = asked([Node(16, 4)], shards=8)
    assert 0.4 < two_each.shard.gpus < 0.5
    assert asked([Node(16, 4)], shards=2).shard.gpus == 1


def test_no_place_is_an_error_that_lists_asked_and_free(small_ray: None) -> None:
    resources = ResourcesConfig(
        gp=ActorShare(gpus=1), shards=3, start_deadline_seconds=1, labellers=2
    )
    start = time.monotonic()
    said = (
        r"Asked: 0.33 CPU and 1 GPU for the Gaussian process or the network, 0.33 CPU for each of 3"
        r" shards, 0.33 CPU for each of 2 labellers. Free: 2 of 2 CPU, 0 of 0 GPU"
    )
    with pytest.raises(ClusterError, match=said), reserved(resources, labellers=2):
        pass
    # Ten times the deadline: it must not wait for ever.
    assert time.monotonic() - start < 10
    # The reservation is given up.
    with reserved(ResourcesConfig(gp=ActorShare(cpus=2), start_deadline_seconds=10), most_shards=0):
        pass


class Mortal:
    def ping(self) -> bool:
        return True

    def pid(self) -> int:
        return os.getpid()


def test_an_actor_that_was_killed_is_waited_for_and_one_that_is_dead_is_an_error(
    small_ray: None,
) -> None:
    resources = ResourcesConfig(start_deadline_seconds=60)
    actor = ray.remote(Mortal).options(num_cpus=0.1, max_restarts=1).remote()
    first = ray.get(actor.pid.remote())
    os.kill(first, signal.SIGKILL)
    wait_until_ready([actor], resources, asked="0.1 CPU")
    second = ray.get(actor.pid.remote())
    assert second != first
    os.kill(second, signal.SIGKILL)
    with pytest.raises(ray.exceptions.ActorDiedError):
        wait_until_ready([actor], resources, asked="0.1 CPU")


def test_an_actor_whose_loss_ray_has_not_noticed_yet_is_asked_again(
    small_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = ray.remote(Mortal).options(num_cpus=0.1).remote()
    answers = [ray.exceptions.ActorUnavailableError("connection lost", None)] * 2
    get = ray.get

    def unavailable_twice(reference: object) -> object:
        if answers:
            raise answers.pop()
        return get(reference)

    monkeypatch.setattr(placement.ray, "get", unavailable_twice)
    resources = ResourcesConfig(start_deadline_seconds=60)
    wait_until_ready([actor], resources, asked="0.1 CPU")
    assert not answers
    answers = [ray.exceptions.ActorUnavailableError("connection lost", None)] * 99
    brief = ResourcesConfig(start_deadline_seconds=1)
    with pytest.raises(ClusterError, match="1 of 1 actors had no place after 1 s"):
        wait_until_ready([actor], brief, asked="0.1 CPU")


class Labels(Mortal):
    """As far as a crew looks at labellers before they work."""


class CannotStart(Labels):
    def __init__(self) -> None:
        raise OSError("no licence")


def crew_of(kind: type, deadline_seconds: float, **options: float) -> LabellerCrew:
    def hire() -> object:
        return ray.remote(kind).options(num_cpus=0.1, **options).remote()

    return LabellerCrew([], hire, size=2, start_deadline_seconds=deadline_seconds)


def test_one_labeller_is_enough_to_begin_with_and_none_is_not(small_ray: None) -> None:
    crew = crew_of(Labels, 60)
    assert crew.wait_for_one()
    assert len(crew) == 2
    crew.close()
    without_place = crew_of(Labels, 1, num_gpus=1)
    assert not without_place.wait_for_one()
    without_place.close()
    with pytest.raises(ClusterError, match=r"no labeller starts.*no licence"):
        crew_of(CannotStart, 60).wait_for_one()
