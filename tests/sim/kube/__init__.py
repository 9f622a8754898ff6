"""An embedded Kubernetes API with hollow kubelets and controllers.

It answers as kube-apiserver 1.36 does for what the agent and ``kubectl`` need, so that tests, the demo and the
benchmarks run without a cluster. ``tests.sim.kube.cluster.Cluster`` is the way in.
"""
