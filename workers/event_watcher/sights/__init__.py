"""What single objects of the API show: from one Event, Pod or Node to the occurrences in it. Pure."""
