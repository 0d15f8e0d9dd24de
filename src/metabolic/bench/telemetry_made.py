"""Small recordings made here, of every kind, so that the bench runs without any others.

They show that both sides run and agree; only real recordings show that they are right.
"""

__all__ = ["made"]

import json
import plistlib
from collections.abc import Mapping
from pathlib import Path

_FILES: Mapping[str, str] = {
    "a-laptop/sys/class/hwmon/hwmon0/name": "coretemp",
    "a-laptop/sys/class/hwmon/hwmon0/temp1_label": "Package id 0",
    "a-laptop/sys/class/hwmon/hwmon0/temp1_input": "61000",
    "a-laptop/sys/class/hwmon/hwmon0/temp1_crit": "100000",
    "a-laptop/sys/class/hwmon/hwmon0/temp2_label": "Core 0",
    "a-laptop/sys/class/hwmon/hwmon0/temp2_input": "64000",
    "a-laptop/sys/class/power_supply/BAT0/type": "Battery",
    "a-laptop/sys/class/power_supply/BAT0/status": "Discharging",
    "a-laptop/sys/class/power_supply/BAT0/energy_now": "30000000",
    "a-laptop/sys/class/power_supply/BAT0/energy_full": "40000000",
    "a-laptop/sys/class/power_supply/BAT0/power_now": "7500000",
    "a-laptop/sys/class/powercap/intel-rapl:0/name": "package-0",
    "a-laptop/sys/class/powercap/intel-rapl:0/energy_uj": "123456789",
    "a-laptop/sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850",
    "a-laptop/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw": "28000000",
    "a-laptop/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n",
    "a-laptop/proc/pressure/cpu": "some avg10=12.50 avg60=2.00 avg300=1.00 total=15\n",
    "pressure/live-memory": "some avg10=0.25 avg60=0.07 avg300=0.12 total=18832617\n",
    "nvidia/one.xml": (
        '<?xml version="1.0" ?>\n<nvidia_smi_log><gpu id="00000000:01:00.0">'
        "<fb_memory_usage><total>8192 MiB</total><used>512 MiB</used></fb_memory_usage>"
        "<utilization><gpu_util>25 %</gpu_util></utilization>"
        "<temperature><gpu_temp>50 C</gpu_temp><gpu_temp_slow_threshold>95 C"
        "</gpu_temp_slow_threshold></temperature>"
        "<power_readings><power_draw>80.50 W</power_draw><power_limit>200.00 W</power_limit>"
        "</power_readings></gpu></nvidia_smi_log>\n"
    ),
    "dcgm/one.prom": (
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-1"} 41\n'
        'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-1"} 69.5\n'
        'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 123456\n'
    ),
    "kepler/node.prom": (
        'kepler_node_cpu_watts{zone="package",path="a"} 30.5\n'
        'kepler_node_cpu_joules_total{zone="package",path="a"} 1000\n'
        'kepler_node_cpu_watts{zone="core",path="a"} 12\n'
    ),
    "mac/one.txt": (
        "*** Sampled system activity (Sun Nov 22 12:00:00 2026 +0000) (1000.00ms elapsed) ***\n"
        "CPU 0 active residency:  25.00% (600 MHz: 1%)\nCPU Power: 900 mW\nGPU Power: 100 mW\n"
        "Combined Power (CPU + GPU + ANE): 1000 mW\nCurrent pressure level: Moderate\n"
    ),
    "mac/macmon.jsonl": json.dumps(
        {
            "temp": {"cpu_temp_avg": 43.5, "gpu_temp_avg": 0.0},
            "memory": {"ram_total": 17179869184, "ram_usage": 8589934592},
            "gpu_usage": [461, 0.25],
            "cpu_power": 2.5,
            "gpu_power": 0.5,
            "all_power": 3.0,
            "sys_power": 9.0,
        }
    )
    + "\n",
    "bmc/power.json": json.dumps(
        {
            "@odata.type": "#Power.v1_5_0.Power",
            "PowerControl": [{"PowerConsumedWatts": 429, "PowerLimit": {"LimitInWatts": 600}}],
        }
    ),
    "README.md": "made by metabolic bench telemetry\n",
}


def made(folder: Path) -> Path:
    """Write the recordings below ``folder`` and return it."""
    for name, content in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    root = {
        "elapsed_ns": 2_000_000_000,
        "thermal_pressure": "Nominal",
        "processor": {"cpu_power": 3000.0, "cpu_energy": 6000, "combined_power": 3250.0},
        "gpu": {"freq_hz": 338.0, "idle_ratio": 0.875},
    }
    (folder / "mac/one.plist").write_bytes(plistlib.dumps(root))
    return folder
