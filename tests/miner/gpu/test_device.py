"""Which device a setting means, and that nothing stands in for a GPU that is asked for."""

import pytest

from miner.gpu.device import CPU, SETTING, Device, DeviceMissingError, choose_device, find_device
from miner.gpu.hardware import Discovery, Gpu

FIRST = Gpu("GPU-a", "NVIDIA H100", 85 * 10**9, "9.0", "570.86", has_energy_counter=True)
SECOND = Gpu("GPU-b", "Tesla T4", 16 * 10**9, "7.5", "570.86", has_energy_counter=False)
BOTH = Discovery((FIRST, SECOND))
NONE = Discovery(())


@pytest.mark.parametrize(
    ("setting", "discovery", "device"),
    [
        ("auto", BOTH, Device(FIRST)),
        ("auto", NONE, CPU),
        ("cpu", BOTH, CPU),
        ("cuda:0", BOTH, Device(FIRST, is_required=True)),
        ("cuda:1", BOTH, Device(SECOND, is_required=True)),
    ],
)
def test_a_setting_means_one_device(setting: str, discovery: Discovery, device: Device) -> None:
    assert choose_device(setting, discovery) == device


def test_a_gpu_that_is_not_there_is_refused_with_what_is() -> None:
    with pytest.raises(DeviceMissingError, match=r"cuda:2.*NVIDIA H100, Tesla T4"):
        choose_device("cuda:2", BOTH)
    with pytest.raises(DeviceMissingError, match=r"cuda:0.*none.*nvidia-smi"):
        choose_device("cuda:0", NONE)
    with pytest.raises(DeviceMissingError, match=r"Driver Not Loaded"):
        choose_device("cuda:0", Discovery((), "the driver does not answer: Driver Not Loaded"))


def test_the_cpu_asks_no_driver() -> None:
    assert find_device("cpu") is CPU


@pytest.mark.parametrize(
    "text", ["", "gpu", "cuda", "cuda:", "cuda:01", "cuda:100", "cuda:-1", "CPU"]
)
def test_what_is_no_setting(text: str) -> None:
    assert SETTING.fullmatch(text) is None


def test_a_process_is_shown_its_gpu_alone() -> None:
    assert Device(SECOND).environment == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-b",
    }
    assert CPU.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_what_is_wanted_of_a_process() -> None:
    assert [CPU.wanted, Device(FIRST).wanted, Device(FIRST, is_required=True).wanted] == [
        "cpu",
        "auto",
        "cuda",
    ]


def test_a_receipt_says_what_computed() -> None:
    device = Device(FIRST)
    assert device.describe("cuda") == "GPU NVIDIA H100, driver 570.86"
    assert device.get_uuid("cuda") == "GPU-a"
    assert device.describe("CPU AMD EPYC") == "CPU AMD EPYC"
    assert device.get_uuid("CPU AMD EPYC") == ""
