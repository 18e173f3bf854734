"""Several replicas of the service behind Ray Serve. Only router.py, deployments.py and __main__.py know Ray (extra `ray`)."""
