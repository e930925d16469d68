"""Installs the package, its launch and configuration files and one executable per node."""

from glob import glob

from setuptools import find_packages, setup

NAME = "re_pose_ros"
NODES = ("camera", "partitioner", "detector", "fusion", "tuner", "robot")

setup(
    name=NAME,
    version="0.1.0",
    description="Non-uniform blocks of a large frame, detected on several edge machines",
    maintainer="re_pose_ros maintainers",
    maintainer_email="maintainers@re-pose-ros.example.org",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: [
            "py.typed",
            "**/*.jinja",
            "**/*.json",
            "**/*.msg",
            "**/*.npz",
            "**/*.safetensors",
            "**/*.pt",
            "**/*.safetensors",
            "**/*.yaml",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*.*"))),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["hypothesis", "pytest", "pytest-timeout", "scikit-learn"]},
    zip_safe=False,
    entry_points={"console_scripts": [f"{node} = {NAME}.nodes.{node}:main" for node in NODES]},
)
